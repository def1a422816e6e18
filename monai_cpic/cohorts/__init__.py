"""Cohorts: how each is read, which units and scores it has, and what its report shows; one evaluation for all."""

from monai_cpic.extras import extra

with extra("bundles"):
    from monai_cpic.cohorts.base import Cohort
    from monai_cpic.cohorts.baselines import Baseline
    from monai_cpic.cohorts.brats.cohort import BraTSCohort
    from monai_cpic.cohorts.evaluation import write_evaluation, write_inference
    from monai_cpic.cohorts.folds import folds
    from monai_cpic.cohorts.inference import PatientInference
    from monai_cpic.cohorts.osic.cohort import OSICCohort
    from monai_cpic.cohorts.predictions import PatientPredictions
    from monai_cpic.cohorts.table.cohort import TableCohort, fit_table
    from monai_cpic.cohorts.table.fingerprint import Fingerprint

__all__ = [
    "Baseline",
    "BraTSCohort",
    "Cohort",
    "Fingerprint",
    "OSICCohort",
    "PatientInference",
    "PatientPredictions",
    "TableCohort",
    "fit_table",
    "folds",
    "write_evaluation",
    "write_inference",
]
