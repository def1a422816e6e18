"""Centred kernel alignment between what the network sees in the volumes and the target."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from monai_cpic.networks import TTBottleneck
from monai_cpic.tensor_train import TensorTrain

__all__ = ["AlignedLoss", "kernel_alignment"]


def kernel_alignment(gram: Tensor, target: Tensor) -> Tensor:
    """How far the similarities of samples are those of their targets: 1 if inner products of both agree, 0 if unrelated.

    The cosine between the centred Gram matrices (Cortes, Mohri and Rostamizadeh, Algorithms for learning kernels based on
    centered alignment, 2012).

    Args:
        gram: inner products, ``[B, B]``, symmetric and not negative.
        target: ``[B]`` or ``[B, K]``.

    Returns:
        A scalar in [0, 1], of the dtype of ``gram``; 0 if either is the same for all samples.

    Raises:
        ValueError: if the shapes do not fit.

    Example:
        >>> target = torch.tensor([1.0, 2.0, 4.0])
        >>> round(kernel_alignment(torch.outer(target, target), 3 * target + 1).item(), 6)
        1.0
    """
    if gram.ndim != 2 or gram.shape[0] != gram.shape[1] or len(target) != len(gram):
        raise ValueError(f"gram must be [B, B] and target [B] or [B, K], got {tuple(gram.shape)} and {tuple(target.shape)}")
    target = target.reshape(len(target), -1).to(gram)
    target = target - target.mean(0)
    gram = gram - gram.mean(0)
    gram = gram - gram.mean(1, keepdim=True)
    wanted = target @ target.mT
    size = gram.square().sum() * wanted.square().sum()
    # Where either matrix is zero so is the product; the root must have a derivative all the same.
    return torch.where(size > 0, (gram * wanted).sum() / torch.where(size > 0, size, 1.0).sqrt(), 0.0)


class AlignedLoss(nn.Module):
    """A loss and, in training, the part of the alignment that is missing.

    The features of a tensor train are its principal components over a batch.  The loss alone reaches the encoder through a basis
    that turns and a head that lags behind it, and may take long to find anything.  The alignment needs neither: it makes
    volumes of similar targets similar, so that the target becomes a leading component.

    Args:
        loss: of predictions and targets ``[B, …]``.
        bottleneck: of the network; every volume is one row of the batch.
        weight: of the missing alignment.
    """

    def __init__(self, loss: Callable[[Tensor, Tensor], Tensor], bottleneck: TTBottleneck, weight: float = 1.0) -> None:
        super().__init__()
        self.loss = loss
        self.weight = weight
        self.gram: Tensor | None = None
        bottleneck.register_forward_hook(self._note)

    def _note(self, bottleneck: nn.Module, volumes: object, trains: TensorTrain) -> None:
        self.gram = trains.inner(trains) if bottleneck.training else None

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """A scalar."""
        loss, gram = self.loss(prediction, target), self.gram
        self.gram = None
        return loss if gram is None else loss + self.weight * (1 - kernel_alignment(gram, target)).to(loss)
