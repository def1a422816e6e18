"""The confidence of a baseline's FVC, chosen so that its score is as good as it can be."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor

from monai_cpic.metrics import laplace_log_likelihood

__all__ = ["FVCSpread"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class FVCSpread:
    r"""Distance of the 0.2 and 0.8 quantiles, :math:`\sqrt{a^2 + (b\,t)^2}` at the time :math:`t` since the baseline.

    The errors of single visits and of a patient's slope are independent, therefore their squares add up.

    Args:
        visit: :math:`a`, ml.
        slope: :math:`b`, ml per year.
    """

    visit: float
    slope: float

    @classmethod
    def fit(cls, years: Array, errors: Array) -> FVCSpread:
        """The spread with the best score (:func:`~monai_cpic.metrics.laplace_log_likelihood`).

        Args:
            years: time since the baseline, ``[N]``.
            errors: measured minus predicted FVC of patients whom the model had not seen, ml, ``[N]``.

        Example:
            >>> spread = FVCSpread.fit(np.array([0.5, 1.0, 1.5]), np.array([100.0, -100.0, 100.0]))
            >>> round(spread.visit), round(abs(spread.slope))  # the best is √2 times the mean error
            (141, 0)
        """
        measured = torch.tensor(errors)

        def loss(parameters: Array) -> float:
            return -laplace_log_likelihood(measured, cls(*parameters).quantiles(np.zeros_like(years), years)).mean().item()

        typical = math.sqrt(2) * max(np.abs(errors).mean(), 1.0)  # the best constant spread
        found = min((minimize(loss, [typical, slope], method="Nelder-Mead") for slope in (1.0, typical)), key=lambda f: f.fun)
        return cls(*map(float, found.x))

    def quantiles(self, median: Array, years: Array) -> Tensor:
        """The quantiles 0.2, 0.5 and 0.8, float64 ``[V, 3]``.

        Args:
            median: ml, ``[V]``.
            years: time since the baseline, ``[V]``.
        """
        half = np.hypot(self.visit, self.slope * years) / 2
        return torch.tensor(np.stack([median - half, median, median + half], 1))
