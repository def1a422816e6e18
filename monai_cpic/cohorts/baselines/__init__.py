"""Baselines: models that do not see the scans, to which a network is compared."""

from monai_cpic.cohorts.baselines.base import Baseline, predictions_of_baselines

__all__ = ["Baseline", "predictions_of_baselines"]
