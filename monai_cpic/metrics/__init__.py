"""Metrics that MONAI does not have."""

from __future__ import annotations

from monai_cpic.metrics.laplace_log_likelihood import LaplaceLogLikelihood, laplace_log_likelihood
from monai_cpic.metrics.survival import concordance_index, integrated_brier_score, survival_classes, survival_scores

__all__ = [
    "LaplaceLogLikelihood",
    "concordance_index",
    "integrated_brier_score",
    "laplace_log_likelihood",
    "survival_classes",
    "survival_scores",
]
