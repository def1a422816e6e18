"""The pinball loss of quantile regression."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from monai.utils import LossReduction
from torch.nn.modules.loss import _Loss

from monai_cpic.devices import move

__all__ = ["PinballLoss"]


class PinballLoss(_Loss):
    r"""Pinball (quantile, check) loss: its minimiser is the conditional quantile of the target.

    With the error :math:`e = y - \hat y_\tau`, the loss of the quantile :math:`\tau` is
    :math:`\max(\tau e, (\tau - 1) e)`. The last dimension of a prediction holds the quantiles.

    Reference: R. Koenker, G. Bassett, "Regression Quantiles", Econometrica 46(1), 1978.

    Args:
        quantiles: the predicted quantiles, strictly increasing, each strictly between 0 and 1.
        reduction: ``"mean"`` (over rows and quantiles), ``"sum"`` or ``"none"``.

    Raises:
        ValueError: when ``quantiles`` is empty, not increasing or outside (0, 1), or ``reduction`` is unknown.

    Example:
        >>> loss = PinballLoss(quantiles=(0.2, 0.5, 0.8))
        >>> round(loss(torch.tensor([[2400.0, 2500.0, 2600.0]]), torch.tensor([2550.0])).item(), 4)
        21.6667
    """

    def __init__(self, quantiles: Sequence[float] = (0.2, 0.5, 0.8), reduction: LossReduction | str = LossReduction.MEAN) -> None:
        super().__init__(reduction=LossReduction(reduction).value)
        self.quantiles = tuple(float(q) for q in quantiles)
        inside = all(0.0 < q < 1.0 for q in self.quantiles)
        increasing = all(low < high for low, high in pairwise(self.quantiles))
        if not (self.quantiles and inside and increasing):
            raise ValueError(f"quantiles must increase strictly between 0 and 1, got {self.quantiles}.")

    def forward(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """
        Args:
            input: predicted quantiles, shape [..., Q], in the order of ``quantiles``.
            target: observed values, shape [...], in the same units.

        Returns:
            A scalar, or shape [..., Q] with ``reduction="none"``.

        Raises:
            ValueError: when the shapes do not fit; nothing is broadcast.
        """
        if input.ndim == 0 or input.shape[-1] != len(self.quantiles) or input.shape[:-1] != target.shape:
            raise ValueError(
                f"input must have the shape of target plus a last dimension of {len(self.quantiles)} quantiles, "
                f"got input {tuple(input.shape)} and target {tuple(target.shape)}."
            )
        error = target.unsqueeze(-1) - input
        tau = move(torch.tensor(self.quantiles, dtype=error.dtype, device="cpu"), error)
        loss = torch.maximum(tau * error, (tau - 1) * error)
        if self.reduction == LossReduction.MEAN.value:
            return loss.mean()
        return loss.sum() if self.reduction == LossReduction.SUM.value else loss
