"""A readout for each family of targets: ridge regression of a score, and a link from the score to outputs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from monai_cpic.networks.families import Family
from monai_cpic.networks.readouts.base import Readout
from monai_cpic.networks.readouts.ridge import RidgeReadout
from monai_cpic.networks.sampled_field import SampledField

__all__ = ["FamilyReadout"]


class FamilyReadout(Readout):
    """Outputs of a family, from a score that is a linear function of the field and the covariates.

    Ridge regression (:class:`RidgeReadout`) fits the score to the working response of the family.  The link is chosen by the
    scores of fields that were left out, so that it does not trust a score more than new patients allow.

    Args:
        family: of the target.
        covariates: number of covariates; may be 0.
        n_dims: channels of the latent field.
        mode_sizes: mode sizes of the scan's tensor trains.
    """

    def __init__(self, family: Family, covariates: int, n_dims: int, mode_sizes: Sequence[int]) -> None:
        super().__init__()
        self.family = family
        self.ridge = RidgeReadout(family.scores, covariates, n_dims, mode_sizes)
        self.fewest = self.ridge.fewest

    @property
    def summary(self) -> str:
        return self.ridge.summary

    def forward(self, field: SampledField, covariates: Tensor | None = None, rows: Tensor | None = None) -> Tensor:
        return self.family(self.ridge(field, covariates, rows))

    @torch.no_grad()
    def fit(
        self, field: SampledField, target: Tensor, covariates: Tensor | None = None, rows: Tensor | None = None
    ) -> Tensor | None:
        target = target.to(self.ridge.constant)
        response = self.family.response(target)
        left_out = self.ridge.fit(field, response, covariates, rows)
        # the mean is that of all rows: that of the others falls where a row's own response rises, which the link would see
        left_out = left_out + (response - response.mean(0)) / (len(response) - 1)
        self.family.fit(left_out, target)
        self.fitted.fill_(True)
        return self.family(left_out)
