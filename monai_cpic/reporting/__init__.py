"""Reports: a self-contained page, and the figures that all cohorts share."""
