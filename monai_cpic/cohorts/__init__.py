"""Cohorts: how each is read, which units and scores it has, and what its report shows; one evaluation for all."""

from monai_cpic.extras import extra

with extra("bundles"):
    from monai_cpic.cohorts.base import Cohort
    from monai_cpic.cohorts.baselines import Baseline
    from monai_cpic.cohorts.brats.cohort import BraTSCohort
    from monai_cpic.cohorts.evaluation import write_evaluation, write_inference
    from monai_cpic.cohorts.fold_training import train_folds
    from monai_cpic.cohorts.folds import folds, set_aside, training_part
    from monai_cpic.cohorts.inference import PatientInference
    from monai_cpic.cohorts.intervals import Intervals, OffsetIntervals, ScaledIntervals
    from monai_cpic.cohorts.osic.cohort import OSICCohort
    from monai_cpic.cohorts.out_of_fold import read_held_out, write_held_out, write_out_of_fold_evaluation
    from monai_cpic.cohorts.predictions import PatientPredictions
    from monai_cpic.cohorts.provenance import Provenance, is_simulated
    from monai_cpic.cohorts.results import remove_results
    from monai_cpic.cohorts.table.cohort import TableCohort
    from monai_cpic.cohorts.table.fingerprint import Fingerprint
    from monai_cpic.cohorts.table.fitting import fit_table

__all__ = [
    "Baseline",
    "BraTSCohort",
    "Cohort",
    "Fingerprint",
    "Intervals",
    "OSICCohort",
    "OffsetIntervals",
    "PatientInference",
    "PatientPredictions",
    "Provenance",
    "ScaledIntervals",
    "TableCohort",
    "fit_table",
    "folds",
    "is_simulated",
    "read_held_out",
    "remove_results",
    "set_aside",
    "train_folds",
    "training_part",
    "write_evaluation",
    "write_held_out",
    "write_inference",
    "write_out_of_fold_evaluation",
]
