"""What a projection is."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from monai_cpic.tensor_train import TensorTrain

__all__ = ["Projection"]


class Projection(nn.Module, ABC):
    """From tensor trains to feature vectors that do not depend on the gauge (paper, section 3.3).

    Features of a training step may rest on its batch, that of all processes; those of evaluation rest on buffers alone, so that a
    checkpoint predicts by itself.

    Attributes:
        features: how many.
        capacity: of how many tensor trains :meth:`refresh` makes use.
    """

    features: int
    capacity: int

    @abstractmethod
    def forward(self, trains: TensorTrain) -> Tensor:
        """Features ``[B, features]``, float64, differentiable through the cores."""

    @abstractmethod
    def refresh(self, trains: TensorTrain) -> None:
        """Take what the features of evaluation rest on from these tensor trains alone, at most ``capacity`` of frozen weights."""
