"""A loss of the quantiles of a measurement and of its rate of change."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from monai_cpic.losses.pinball import PinballLoss

__all__ = ["QuantileRateLoss"]


class QuantileRateLoss(nn.Module):
    r"""Pinball loss of the quantiles of single measurements, plus the Huber loss of the rate of change of a patient's series.

    A single visit says little about a scan: the noise of the measurement is larger than the change in a few months.  The slope
    of a line through all visits says much more, so an encoder learns from it; the quantiles use the same features.

    References: R. Koenker, G. Bassett, "Regression Quantiles", Econometrica 46(1), 1978; P. J. Huber, "Robust Estimation of
    a Location Parameter", Annals of Mathematical Statistics 35(1), 1964; R. Caruana, "Multitask Learning", Machine Learning
    28, 1997.

    Args:
        quantiles: see :class:`PinballLoss`.
        rate_weight: weight of the second term, which expects rates in units of about their standard deviation; 0 omits it.

    Example:
        >>> loss = QuantileRateLoss((0.2, 0.5, 0.8))
        >>> prediction, target = torch.tensor([[-0.1, 0.0, 0.1, -1.0]]), torch.tensor([[0.0, -2.0]])
        >>> round(loss(prediction, target).item(), 4)
        0.5133
    """

    def __init__(self, quantiles: Sequence[float] = (0.2, 0.5, 0.8), rate_weight: float = 1.0) -> None:
        super().__init__()
        self.pinball = PinballLoss(quantiles)
        self.huber = nn.HuberLoss()
        self.rate_weight = rate_weight

    def forward(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """
        Args:
            input: predicted quantiles, then the predicted rate, ``[R, Q + 1]``.
            target: observed values and rates, ``[R, 2]``.

        Returns:
            A scalar.

        Raises:
            ValueError: when the shapes do not fit.
        """
        if target.ndim != 2 or target.shape[1] != 2 or input.ndim != 2:
            raise ValueError(f"input must be [R, Q + 1] and target [R, 2], got {tuple(input.shape)} and {tuple(target.shape)}.")
        loss: torch.Tensor = self.pinball(input[:, :-1], target[:, 0])
        return loss + self.rate_weight * self.huber(input[:, -1], target[:, 1].to(input)) if self.rate_weight else loss
