"""The interface of readouts that say how well they do on scans that they have not seen."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from monai_cpic.devices import move
from monai_cpic.networks.readouts.base import Readout
from monai_cpic.networks.readouts.kernel_ridge import check_finite
from monai_cpic.networks.sampled_field import SampledField

__all__ = ["ScoreReadout", "places_of", "with_common_mean", "with_covariates"]


class ScoreReadout(Readout):
    """A readout that predicts the columns of its target, and in its fit also what it would predict for scans that are left out.

    What follows from its predictions, such as the width of an interval or a link, is fitted to the latter.

    Attributes:
        out_channels: number of columns of the target.
    """

    out_channels: int

    @abstractmethod
    def fit(
        self,
        field: SampledField,
        target: Tensor,
        covariates: Tensor | None = None,
        rows: Tensor | None = None,
        patients: Tensor | None = None,
    ) -> Tensor:
        """Fit to known targets and set ``fitted``, see :meth:`Readout.fit`.

        Args:
            field: ``B`` latent fields.
            target: ``[R, out_channels]``.
            covariates: ``[R, covariates]``.
            rows: index of each row's field, int64 ``[R]``.
            patients: a number for the patient of each row, int64 ``[R]``, of whom all rows are left out together; default: each
                field is a patient.

        Returns:
            The prediction for each row when its patient is left out of the fit, ``[R, out_channels]``.
        """


def places_of(
    field: SampledField, rows: Tensor | None, patients: Tensor | None, target: Tensor, fewest: int
) -> tuple[Tensor, Tensor]:
    """The field of each row, and the group of rows with which it is left out, int64 ``[R]`` each, on the device of the target.

    Args:
        field: ``B`` latent fields.
        rows: index of each row's field; default: one row for each.
        patients: a number for the patient of each row; default: its field.
        target: ``[R, O]``.
        fewest: number of patients that a fit needs.

    Raises:
        ValueError: if there are fewer, or the target is not finite.
    """
    places = torch.arange(len(field), device=target.device) if rows is None else rows.to(target.device)
    groups = (places if patients is None else patients.to(target.device)).unique(return_inverse=True)[1]
    if int(groups.max()) + 1 < fewest:
        raise ValueError(f"ridge regression needs scans of {fewest} patients or more, got {int(groups.max()) + 1}")
    check_finite("target", target)
    return places, groups


def with_common_mean(left_out: Tensor, response: Tensor, groups: Tensor) -> Tensor:
    """Predictions for rows that were left out, as if the mean of all rows had been known.

    The mean of the others falls where a row's own response rises, which what is fitted to such predictions would take for a hint.

    Args:
        left_out: the predictions ``[R, O]``.
        response: what they predict, ``[R, O]``.
        groups: the rows that were left out together have the same number, 0, 1, …, int64 ``[R]``.
    """
    away = response - response.mean(0)
    own = torch.zeros_like(away).index_add_(0, groups, away)[groups]
    return left_out + own / (len(away) - groups.bincount()[groups])[:, None]


def with_covariates(features: Tensor, covariates: Tensor | None, rows: Tensor | None, number: int) -> Tensor:
    """The features of each row's field, then its covariates, ``[R, F + number]``.

    Args:
        features: of ``B`` fields, ``[B, F]``.
        covariates: ``[R, number]``; default: zeros.
        rows: index of each row's field, int64 ``[R]``; default: one row for each.
        number: of covariates that the readout takes.

    Raises:
        ValueError: if there is another number of covariates.
    """
    features = features if rows is None else features[move(rows, features)]
    if covariates is not None and covariates.shape[1] != number:
        raise ValueError(f"the readout takes {number} covariates, got {covariates.shape[1]}")
    others = features.new_zeros(len(features), number) if covariates is None else covariates.to(features)
    return torch.cat([features, others], 1)
