"""The paper's experiments, one command each: ``python -m monai_cpic.experiments table1|table2|figure1``."""
