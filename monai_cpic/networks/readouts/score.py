"""The interface of readouts that say how well they do on scans that they have not seen."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from monai_cpic.devices import move
from monai_cpic.networks.readouts.base import Readout
from monai_cpic.networks.readouts.kernel_ridge import check_finite
from monai_cpic.networks.sampled_field import SampledField

__all__ = ["ScoreReadout", "places_of", "with_covariates"]


class ScoreReadout(Readout):
    """A readout that predicts the columns of its target, and in its fit also what it would predict for scans that are left out.

    What follows from its predictions, such as the width of an interval or a link, is fitted to the latter.

    Attributes:
        out_channels: number of columns of the target.
    """

    out_channels: int

    @abstractmethod
    def fit(self, field: SampledField, target: Tensor, covariates: Tensor | None = None, rows: Tensor | None = None) -> Tensor:
        """Fit to known targets and set ``fitted``, see :meth:`Readout.fit`.

        Args:
            field: ``B`` latent fields.
            target: ``[R, out_channels]``.
            covariates: ``[R, covariates]``.
            rows: index of each row's field, int64 ``[R]``; the rows of a field are left out together.

        Returns:
            The prediction for each row when its field is left out of the fit, ``[R, out_channels]``.
        """


def places_of(field: SampledField, rows: Tensor | None, target: Tensor, fewest: int) -> Tensor:
    """The field of each row, int64 ``[R]``, on the device of the target.

    Args:
        field: ``B`` latent fields.
        rows: index of each row's field; default: one row for each.
        target: ``[R, O]``.
        fewest: number of fields that a fit needs.

    Raises:
        ValueError: if there are fewer, or the target is not finite.
    """
    places = torch.arange(len(field), device=target.device) if rows is None else rows.to(target.device)
    if len(places.unique()) < fewest:
        raise ValueError(f"ridge regression needs {fewest} scans or more, got {len(places.unique())}")
    check_finite("target", target)
    return places


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
