"""The squared error of predicted times, some of which are censored."""

from __future__ import annotations

from monai.utils import LossReduction
from torch import Tensor
from torch.nn.modules.loss import _Loss

__all__ = ["CensoredMSELoss"]


class CensoredMSELoss(_Loss):
    r"""Mean squared error of predicted times; at a censored time, only predictions that are too early have an error.

    Without censored times it is :class:`torch.nn.MSELoss`.

    Args:
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Example:
        >>> import torch
        >>> loss = CensoredMSELoss(reduction="none")
        >>> target = torch.tensor([[2.0, 1.0], [2.0, 0.0], [2.0, 0.0]])  # an event at 2; two censored at 2
        >>> loss(torch.tensor([[3.0], [3.0], [1.0]]), target)
        tensor([1., 0., 1.])
    """

    def __init__(self, reduction: LossReduction | str = LossReduction.MEAN) -> None:
        super().__init__(reduction=LossReduction(reduction).value)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """
        Args:
            input: predicted times, shape [N, 1].
            target: shape [N, 2]: times, and 1 for an event at that time, 0 for none until that time (censored).

        Returns:
            A scalar, or shape [N] with ``reduction="none"``.

        Raises:
            ValueError: when the shapes do not fit.
        """
        if target.ndim != 2 or target.shape[1] != 2 or input.shape != (len(target), 1):
            raise ValueError(f"input must be [N, 1] and target [N, 2], got {tuple(input.shape)} and {tuple(target.shape)}.")
        time, event = target.unbind(1)
        error = input[:, 0] - time
        loss = error.where(event > 0, error.clamp(max=0)).square()
        if self.reduction == LossReduction.MEAN.value:
            return loss.mean()
        return loss.sum() if self.reduction == LossReduction.SUM.value else loss
