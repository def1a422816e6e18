"""The interface of readouts."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from monai_cpic.networks.sampled_field import SampledField

__all__ = ["Readout"]


class Readout(nn.Module, ABC):
    """Predictions from sampled latent fields and covariates, fitted after the training of the encoder instead of trained with it.

    Attributes:
        fewest: smallest number of patients that :meth:`fit` accepts.
        reads_coarse: whether it needs :attr:`SampledField.coarse`, which the network then reads.
        fitted: whether :meth:`fit` has been called, a bool tensor ``[]`` in the state dict; until then the network predicts by
            its head.
    """

    fewest: int
    reads_coarse: bool = False
    fitted: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("fitted", torch.tensor(False))

    @property
    @abstractmethod
    def summary(self) -> str:
        """The last fit in words, for the log."""

    @abstractmethod
    def forward(self, field: SampledField, covariates: Tensor | None = None, rows: Tensor | None = None) -> Tensor:
        """Predictions ``[R, out_channels]``.

        Args:
            field: ``B`` latent fields.
            covariates: ``[R, covariates]``; default: zeros.
            rows: index of each row's field, int64 ``[R]``; default: one row for each field.
        """

    @abstractmethod
    def fit(
        self,
        field: SampledField,
        target: Tensor,
        covariates: Tensor | None = None,
        rows: Tensor | None = None,
        patients: Tensor | None = None,
    ) -> Tensor | None:
        """Fit to known targets and set ``fitted``.

        Args:
            field: ``B`` latent fields.
            target: ``[R, K]``.
            covariates: ``[R, covariates]``.
            rows: index of each row's field, int64 ``[R]``.
            patients: a number for the patient of each row, int64 ``[R]``, of whom all rows are left out together; default: each
                field is a patient.

        Returns:
            The prediction for each row when its patient is left out of the fit, ``[R, …]``, or None if the readout does not
            compute it.

        Raises:
            ValueError: if there are fewer than ``fewest`` patients.
        """
