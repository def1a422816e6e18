"""Metrics that MONAI does not have."""

from __future__ import annotations

from monai_cpic.metrics.laplace_log_likelihood import LaplaceLogLikelihood, laplace_log_likelihood

__all__ = ["LaplaceLogLikelihood", "laplace_log_likelihood"]
