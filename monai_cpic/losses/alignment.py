"""Centred kernel alignment between what the network sees in the volumes and the target."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

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
        gram: gives the inner products of the batch's tensor trains, ``[B, B]``, with their graph, and None in evaluation:
            the ``gram`` of the network.
        weight: of the missing alignment.

    Example:
        >>> from monai_cpic.networks import CPICNet
        >>> network = CPICNet((16, 16), n_dims=4, rank=3)
        >>> loss = AlignedLoss(torch.nn.MSELoss(), network.gram)
        >>> loss(network(torch.rand(4, 1, 16, 16)), torch.rand(4, 1)).backward()
    """

    def __init__(self, loss: Callable[[Tensor, Tensor], Tensor], gram: Callable[[], Tensor | None], weight: float = 1.0) -> None:
        super().__init__()
        self.loss = loss
        self.gram = gram
        self.weight = weight

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """A scalar.

        Raises:
            ValueError: if there is not one target for each row of the Gram matrix.
        """
        loss, gram = self.loss(prediction, target), self.gram()
        if gram is None:
            return loss
        return loss + self.weight * (1 - kernel_alignment(gram, target)).to(loss)
