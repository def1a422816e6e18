"""Features that are normalised over the batch, as in batch normalization."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from monai_cpic.distributed import joint_mean, joint_size
from monai_cpic.networks.projections.base import Projection
from monai_cpic.networks.sampled_field import SampledField

__all__ = ["NormalisedProjection"]

MOMENTUM = 0.1
SMALLEST_VARIANCE = 1e-8  # of a function of standardised channels; below it is rounding, and the feature does not vary
CAPACITY = 1000  # fields from which refreshed statistics are precise enough


class NormalisedProjection(Projection):
    """A function of the field, normalised over the batch to zero mean and unit variance.

    Such features need no basis: they do not rotate while the encoder learns.  The gradient passes through the normalisation, as
    in :class:`torch.nn.BatchNorm1d`; the batch is that of all processes.  Evaluation, and training with a batch of one, use
    running statistics or those of :meth:`refresh`.  Derived classes implement :meth:`raw`.

    Args:
        features: number of features.
    """

    mean: Tensor
    variance: Tensor
    steps: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.capacity = CAPACITY
        self.features = features
        self.register_buffer("mean", torch.zeros(features, dtype=torch.float64))
        self.register_buffer("variance", torch.ones(features, dtype=torch.float64))
        self.register_buffer("steps", torch.tensor(0))

    @abstractmethod
    def raw(self, field: SampledField) -> Tensor:
        """Features before the normalisation, ``[B, features]``."""

    def forward(self, field: SampledField) -> Tensor:
        raw = self.raw(field).to(self.mean.device)
        mean, variance = self.mean, self.variance
        if self.training and joint_size(raw) > 1:
            mean = joint_mean(raw)
            variance = joint_mean((raw - mean).square())
            self._follow(mean.detach(), variance.detach())
        return (raw - mean) / variance.where(variance > SMALLEST_VARIANCE, 1.0).sqrt()

    @torch.no_grad()
    def refresh(self, field: SampledField) -> None:
        raw = self.raw(field).to(self.mean.device)
        self.mean.copy_(raw.mean(0))
        self.variance.copy_(raw.var(0, correction=0))

    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        momentum = torch.where(self.steps > 0, mean.new_full((), MOMENTUM), 1.0)
        self.mean.lerp_(mean, momentum)
        self.variance.lerp_(variance, momentum)
        self.steps += 1
