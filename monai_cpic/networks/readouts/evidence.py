"""How plausible each of some models is, from its errors for patients who were left out."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["log_evidence"]


def log_evidence(errors: Tensor, patients: int, observations: float) -> Tensor:
    """The logarithm of the likelihood of normally distributed errors, but for a constant.

    Args:
        errors: mean squared errors, any shape; a model with NaN is impossible.
        patients: who were left out.
        observations: that each of them counts for; less than 1, because all models are judged by the same patients, or trained on
            them.

    Example:
        >>> log_evidence(torch.tensor([1.0, 1.1, float("nan")]), patients=40, observations=0.5).softmax(0)
        tensor([0.7217, 0.2783, 0.0000])
    """
    errors = errors.nan_to_num(nan=torch.inf, posinf=torch.inf).clamp(min=torch.finfo(errors.dtype).tiny)
    return -observations * patients / 2 * errors.log()
