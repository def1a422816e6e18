"""Training by centred kernel alignment, which the benchmarks compare with the loss alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from monai_cpic.networks import SampledField
from monai_cpic.tensor_train import TensorTrain


def kernel_alignment(gram: Tensor, target: Tensor) -> Tensor:
    """The cosine between the centred Gram matrices of samples ``[B, B]`` and targets ``[B]``, 0 if either is constant.

    Source: Cortes, Mohri and Rostamizadeh, Algorithms for learning kernels based on centered alignment, 2012.
    """
    target = target.reshape(len(target), -1).to(gram)
    target = target - target.mean(0)
    gram = gram - gram.mean(0)
    gram = gram - gram.mean(1, keepdim=True)
    wanted = target @ target.mT
    size = gram.square().sum() * wanted.square().sum()
    return torch.where(size > 0, (gram * wanted).sum() / torch.where(size > 0, size, 1.0).sqrt(), 0.0)


class AlignedLoss(nn.Module):
    """A loss plus the missing alignment between the tensor trains of the batch and the targets.

    Args:
        loss: of predictions and targets ``[B, …]``.
        bottleneck: computes the tensor trains of a batch of distinct volumes when the network is called.
        weight: of the missing alignment.
    """

    def __init__(self, loss: nn.Module, bottleneck: nn.Module, weight: float = 1.0) -> None:
        super().__init__()
        self.loss = loss
        self.weight = weight
        self.trains: TensorTrain | None = None
        bottleneck.register_forward_hook(self._record)

    def _record(self, bottleneck: nn.Module, inputs: object, field: SampledField) -> None:
        self.trains = field.trains

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """A scalar."""
        assert self.trains is not None
        loss = self.loss(prediction, target)
        return loss + self.weight * (1 - kernel_alignment(self.trains.inner(self.trains), target)).to(loss)
