"""Any cohort: a table with one row for each scan or visit, of which columns name scans, target and covariates."""
