"""Ridge regression on covariates: a reference model that does not see the scans."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["ridge_prediction"]


def ridge_prediction(known: Tensor, target: Tensor, new: Tensor, penalty: float = 1.0) -> Tensor:
    """Predict a number by ridge regression with an intercept; without covariates, this is the mean of the targets.

    Args:
        known: covariates of patients whose target is known, ``[N, P]``.
        target: their targets, ``[N]``.
        new: covariates of patients to predict, ``[M, P]``.
        penalty: penalty on squared coefficients; the intercept has none.

    Returns:
        Predictions, float64 ``[M]``.

    Example:
        >>> age, days = torch.tensor([[50.0], [60.0], [70.0]]), torch.tensor([500.0, 400.0, 300.0])
        >>> ridge_prediction(age, days, torch.tensor([[55.0]]), penalty=0.0)
        tensor([450.], dtype=torch.float64)
    """
    known, target, new = known.double(), target.double(), new.double()
    centre = known.mean(0)
    gram = (known - centre).T @ (known - centre) + penalty * torch.eye(known.shape[1], dtype=torch.float64)
    coefficients = torch.linalg.solve(gram, (known - centre).T @ (target - target.mean()))
    return target.mean() + (new - centre) @ coefficients
