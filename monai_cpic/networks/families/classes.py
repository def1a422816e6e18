"""Classes, predicted by logits."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from monai_cpic.networks.families.affine import AffineFamily

__all__ = ["ClassFamily"]


class ClassFamily(AffineFamily):
    """The number of a class ``[R, 1]``, from 0, of which the logit of each class is predicted.

    The scores are the probabilities of least squares, one for each class; their common scale and a constant for each class
    minimise the cross-entropy of rows that were left out (vector scaling with one scale).

    Reference: C. Guo et al., "On calibration of modern neural networks", ICML 2017.

    Args:
        outputs: the names of the classes.

    Example:
        >>> import torch
        >>> family = ClassFamily(["benign", "malignant"])
        >>> family.loss(torch.tensor([[0.0, 9.0]]), torch.tensor([[1.0]])).round(decimals=3)
        tensor(0.)
    """

    def __init__(self, outputs: Sequence[str]) -> None:
        super().__init__(outputs, scores=len(outputs))

    def loss(self, outputs: Tensor, target: Tensor) -> Tensor:
        return nn.functional.cross_entropy(outputs, target[:, 0].long())

    def response(self, target: Tensor) -> Tensor:
        return nn.functional.one_hot(target[:, 0].long(), self.outputs).double()

    def constants(self, target: Tensor) -> Tensor:
        return (self.response(target).mean(0) + 1 / len(target)).log()
