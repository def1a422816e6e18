"""The interface of projections."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from monai_cpic.networks.sampled_field import SampledField

__all__ = ["Projection"]


class Projection(nn.Module, ABC):
    """From sampled latent fields to feature vectors, which do not depend on the gauge of the cores (paper, section 3.3).

    Features in training may depend on the batch (of all processes).  Features in evaluation depend on the field and on
    buffers alone, so that a checkpoint is all that a prediction needs.

    Attributes:
        features: number of features.
        capacity: largest number of fields that :meth:`refresh` uses.
    """

    features: int
    capacity: int

    @abstractmethod
    def forward(self, field: SampledField) -> Tensor:
        """Features ``[B, features]``, float64, differentiable."""

    @abstractmethod
    def refresh(self, field: SampledField) -> None:
        """Compute the buffers for evaluation from these fields alone.

        Args:
            field: at most ``capacity`` latent fields, of the present weights.
        """
