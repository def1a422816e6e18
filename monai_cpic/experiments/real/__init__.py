"""Methods compared on cohorts of real scans."""
