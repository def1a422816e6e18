"""Features that need no basis: the mean of each latent channel."""

from __future__ import annotations

import torch
from torch import Tensor

from monai_cpic.distributed import joint_mean, joint_size
from monai_cpic.networks.projections.base import Projection
from monai_cpic.tensor_train import TensorTrain

__all__ = ["ChannelMeans"]

MOMENTUM, SMALLEST_VARIANCE = 0.1, 1e-12
CAPACITY = 1000  # tensor trains from which refreshed statistics are precise enough


class ChannelMeans(Projection):
    """The mean of each channel over the grid, normalised over the batch: global average pooling of a tensor train.

    The means are inner products with fixed tensors, instead of with principal components of the data (:class:`TTProjection`).
    They do not rotate while the encoder learns, and need no minimal batch size.  The gradient passes through the normalisation,
    as in :class:`torch.nn.BatchNorm1d`; the batch is that of all processes.  Evaluation, and training with a batch of one, use
    running statistics or those of :meth:`refresh`.

    Args:
        n_dims: channels of the latent field (the fastest index of the last mode), which is also the number of features.

    Example:
        >>> trains = TensorTrain([torch.rand(5, 1, 4, 3).double(), torch.rand(5, 3, 2, 1).double()])
        >>> ChannelMeans(n_dims=2)(trains).shape
        torch.Size([5, 2])
    """

    mean: Tensor
    variance: Tensor
    steps: Tensor

    def __init__(self, n_dims: int) -> None:
        super().__init__()
        self.capacity = CAPACITY
        self.features = n_dims
        self.register_buffer("mean", torch.zeros(n_dims, dtype=torch.float64))
        self.register_buffer("variance", torch.ones(n_dims, dtype=torch.float64))
        self.register_buffer("steps", torch.tensor(0))

    def forward(self, trains: TensorTrain) -> Tensor:
        means = self._means(trains).to(self.mean.device)
        mean, variance = self.mean, self.variance
        if self.training and joint_size(means) > 1:
            mean = joint_mean(means)
            variance = joint_mean((means - mean).square())
            self._follow(mean.detach(), variance.detach())
        return (means - mean) / (variance + SMALLEST_VARIANCE).sqrt()

    @torch.no_grad()
    def refresh(self, trains: TensorTrain) -> None:
        means = self._means(trains).to(self.mean.device)
        self.mean.copy_(means.mean(0))
        self.variance.copy_(means.var(0, correction=0))

    def _means(self, trains: TensorTrain) -> Tensor:
        """Mean over the grid, ``[B, n_dims]``."""
        *cores, last = trains
        row = last.new_ones(len(trains), 1, 1)
        for core in cores:
            row = row @ core.mean(2)
        channels = last.squeeze(3).unflatten(2, (-1, self.features)).mean(2)
        return torch.einsum("bij,bjn->bn", row, channels)

    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        momentum = MOMENTUM if self.steps else 1.0
        self.mean.lerp_(mean, momentum)
        self.variance.lerp_(variance, momentum)
        self.steps += 1
