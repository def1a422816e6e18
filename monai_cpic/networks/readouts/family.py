"""A readout for each family of targets: a linear score, and a link from the score to outputs."""

from __future__ import annotations

import torch
from torch import Tensor

from monai_cpic.networks.families import Family
from monai_cpic.networks.readouts.base import Readout
from monai_cpic.networks.readouts.score import ScoreReadout, places_of, with_common_mean
from monai_cpic.networks.sampled_field import SampledField

__all__ = ["FamilyReadout"]


class FamilyReadout(Readout):
    """Outputs of a family, from a score that is a linear function of the field and the covariates.

    The score is fitted to the working response of the family.  The link is chosen by the scores of fields that were left out, so
    that it does not trust a score more than new patients allow.

    Args:
        family: of the target.
        score: predicts the scores of the family.

    Raises:
        ValueError: if it predicts another number of them.
    """

    def __init__(self, family: Family, score: ScoreReadout) -> None:
        super().__init__()
        if score.out_channels != family.scores:
            raise ValueError(f"the family has {family.scores} scores, the readout predicts {score.out_channels}")
        self.family = family
        self.score = score
        self.fewest = score.fewest
        self.reads_coarse = score.reads_coarse

    @property
    def summary(self) -> str:
        return self.score.summary

    def forward(self, field: SampledField, covariates: Tensor | None = None, rows: Tensor | None = None) -> Tensor:
        return self.family(self.score(field, covariates, rows))

    @torch.no_grad()
    def fit(
        self,
        field: SampledField,
        target: Tensor,
        covariates: Tensor | None = None,
        rows: Tensor | None = None,
        patients: Tensor | None = None,
    ) -> Tensor | None:
        target = target.double().to(self.family.link.device)
        response = self.family.response(target)
        left_out = self.score.fit(field, response, covariates, rows, patients)
        left_out = with_common_mean(left_out, response, places_of(field, rows, patients, response, self.fewest)[1])
        self.family.fit(left_out, target)
        self.fitted.fill_(True)
        return self.family(left_out)
