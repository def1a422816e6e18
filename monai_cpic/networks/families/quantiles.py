"""Numbers, predicted by quantiles."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from monai_cpic.losses import PinballLoss
from monai_cpic.networks.families.base import Family

__all__ = ["QuantileFamily"]


class QuantileFamily(Family):
    """A number ``[R, 1]``, of which quantiles are predicted.

    The score is the expected number; the quantiles lie around it as the numbers of rows that were left out lie around theirs.

    Reference: R. F. Barber et al., "Predictive inference with the jackknife+", Annals of Statistics 49(1), 2021.

    Args:
        outputs: the levels of the quantiles, strictly increasing, each strictly between 0 and 1.

    Example:
        >>> import torch
        >>> family = QuantileFamily([0.25, 0.5, 0.75])
        >>> family.fit(torch.zeros(5, 1), torch.tensor([[-2.0], [-1.0], [0.0], [1.0], [2.0]]))
        >>> family(torch.tensor([[10.0]])).tolist()
        [[9.0, 10.0, 11.0]]
    """

    def __init__(self, outputs: Sequence[float]) -> None:
        super().__init__(outputs, parameters=len(outputs))
        self.pinball = PinballLoss(outputs)

    def loss(self, outputs: Tensor, target: Tensor) -> Tensor:
        return self.pinball(outputs, target[:, 0])

    def response(self, target: Tensor) -> Tensor:
        return target[:, :1].double()

    def fit(self, scores: Tensor, target: Tensor) -> None:
        errors = target[:, 0].double() - scores[:, 0].double()
        self.link.copy_(errors.quantile(errors.new_tensor(self.pinball.quantiles)))

    def forward(self, scores: Tensor) -> Tensor:
        return scores + self.link
