"""Reports: a self-contained page, the figures that all cohorts share, and the metrics file."""
