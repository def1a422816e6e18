"""The OSIC pulmonary fibrosis cohort: lung function from chest CT."""
