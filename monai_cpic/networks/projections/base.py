"""The interface of projections."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from monai_cpic.tensor_train import TensorTrain

__all__ = ["Projection"]


class Projection(nn.Module, ABC):
    """From tensor trains to feature vectors that do not depend on the gauge of the cores (paper, section 3.3).

    Features in training may depend on the batch (of all processes).  Features in evaluation depend on the tensor train and on
    buffers alone, so that a checkpoint is all that a prediction needs.

    Attributes:
        features: number of features.
        capacity: largest number of tensor trains that :meth:`refresh` uses.
    """

    features: int
    capacity: int

    @abstractmethod
    def forward(self, trains: TensorTrain) -> Tensor:
        """Features ``[B, features]``, float64, differentiable through the cores."""

    @abstractmethod
    def refresh(self, trains: TensorTrain) -> None:
        """Compute the buffers for evaluation from these tensor trains alone.

        Args:
            trains: at most ``capacity`` tensor trains, of the present weights.
        """
