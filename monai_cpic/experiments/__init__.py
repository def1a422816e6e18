"""The experiments, one command each: ``python -m monai_cpic.experiments table1|table2|real|figure1``."""
