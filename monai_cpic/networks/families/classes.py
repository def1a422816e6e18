"""Classes, predicted by logits."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from monai_cpic.networks.families.base import Family, minimise

__all__ = ["ClassFamily"]


class ClassFamily(Family):
    """The number of a class ``[R, 1]``, from 0, of which the logit of each class is predicted.

    The scores are the probabilities of least squares, one for each class; their common scale and a constant for each class
    minimise the cross-entropy of rows that were left out (vector scaling with one scale).

    Reference: C. Guo et al., "On calibration of modern neural networks", ICML 2017.

    Args:
        outputs: the names of the classes.

    Example:
        >>> family = ClassFamily(["benign", "malignant"])
        >>> family.loss(torch.tensor([[0.0, 9.0]]), torch.tensor([[1.0]])).round(decimals=3)
        tensor(0.)
    """

    def __init__(self, outputs: Sequence[str]) -> None:
        super().__init__(outputs, scores=len(outputs), parameters=1 + len(outputs))

    def loss(self, outputs: Tensor, target: Tensor) -> Tensor:
        return nn.functional.cross_entropy(outputs, target[:, 0].long())

    def response(self, target: Tensor) -> Tensor:
        return nn.functional.one_hot(target[:, 0].long(), self.outputs).double()

    def fit(self, scores: Tensor, target: Tensor) -> None:
        prior = torch.cat([self.link.new_zeros(1), (self.response(target).mean(0) + 1 / len(target)).log()])

        def loss(link: Tensor) -> Tensor:  # its small penalty keeps the parameters of separable classes finite
            distance = (link - prior).square().sum() / len(target)
            return self.loss(_scaled(scores.double(), link), target) + 1e-2 * distance

        best = minimise(loss, prior)
        self.link.copy_(best if best[0] > 0 else prior)  # scores that point to the wrong class say nothing

    def forward(self, scores: Tensor) -> Tensor:
        return _scaled(scores, self.link)


def _scaled(scores: Tensor, link: Tensor) -> Tensor:
    return link[0] * scores + link[1:]
