"""Ridge regression against numpy's least squares."""

from __future__ import annotations

import numpy as np
import torch

from monai_cpic.cohorts.ridge import ridge_prediction


def test_ridge_is_penalised_least_squares() -> None:
    known, target, new = torch.randn(26, 2), torch.rand(26) * 1000, torch.randn(6, 2)
    x, y = known.double().numpy(), target.double().numpy()
    rows = np.vstack([x - x.mean(0), np.sqrt(2.0) * np.eye(2)])
    coefficients = np.linalg.lstsq(rows, np.concatenate([y - y.mean(), [0, 0]]))[0]
    expected = y.mean() + (new.double().numpy() - x.mean(0)) @ coefficients
    np.testing.assert_allclose(ridge_prediction(known, target, new, penalty=2.0), expected)


def test_ridge_on_nothing_is_the_mean() -> None:
    target = torch.rand(9, dtype=torch.float64)
    torch.testing.assert_close(ridge_prediction(torch.empty(9, 0), target, torch.empty(3, 0)), target.mean().expand(3))
