"""What a readout is."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from monai_cpic.tensor_train import TensorTrain

__all__ = ["Readout"]


class Readout(nn.Module, ABC):
    """Predictions from whole tensor trains and covariates, fitted to a trained encoder instead of trained with it.

    Attributes:
        fewest: tensor trains that it can be fitted to, at least.
        fitted: whether :meth:`fit` has been called, bool ``[]``, part of the state dict; until then predictions are the head's.
        summary: the last fit in words, for the log.
    """

    fewest: int
    fitted: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("fitted", torch.tensor(False))

    @property
    @abstractmethod
    def summary(self) -> str: ...

    @abstractmethod
    def forward(self, trains: TensorTrain, covariates: Tensor | None = None, rows: Tensor | None = None) -> Tensor:
        """Predictions ``[R, out_channels]``.

        Args:
            trains: ``B`` tensor trains.
            covariates: ``[R, covariates]``; 0 where they are not given.
            rows: which of the tensor trains each row is about, int64 ``[R]``; default: one row each.
        """

    @abstractmethod
    def fit(
        self, trains: TensorTrain, target: Tensor, covariates: Tensor | None = None, rows: Tensor | None = None
    ) -> Tensor | None:
        """Fit to known targets and set ``fitted``.

        Args:
            trains: ``B`` tensor trains.
            target: ``[R, K]``.
            covariates: ``[R, covariates]``.
            rows: int64 ``[R]``.

        Returns:
            What is predicted for each row when its tensor train is left out, ``[R, …]``, if the readout knows it.

        Raises:
            ValueError: if there are fewer than ``fewest`` tensor trains.
        """
