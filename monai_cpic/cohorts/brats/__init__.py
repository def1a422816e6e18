"""The BraTS 2020 cohort: survival with a glioma from brain MRI."""
