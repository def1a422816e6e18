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

__all__ = [
    "Baseline",
    "BraTSCohort",
    "Cohort",
    "OSICCohort",
    "PatientInference",
    "PatientPredictions",
    "folds",
    "write_evaluation",
    "write_inference",
]
