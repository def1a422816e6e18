"""Cohorts: one description of each, from its files to the report of a run."""

from monai_cpic.cohorts.base import Cohort
from monai_cpic.cohorts.brats.cohort import BraTSCohort
from monai_cpic.cohorts.evaluation import write_evaluation, write_inference
from monai_cpic.cohorts.folds import folds
from monai_cpic.cohorts.osic.cohort import OSICCohort
from monai_cpic.cohorts.predictions import PatientPredictions

__all__ = ["BraTSCohort", "Cohort", "OSICCohort", "PatientPredictions", "folds", "write_evaluation", "write_inference"]
