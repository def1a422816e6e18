"""A readout for each family of targets."""

from __future__ import annotations

import pytest
import torch

from monai_cpic.networks import ClassFamily, Family, FamilyReadout, HazardFamily, QuantileFamily, RidgeReadout
from monai_cpic.testing import ReadoutTestCase
from monai_cpic.testing.readout import Known


class FamilyTestCase(ReadoutTestCase):
    def of(self, family: Family) -> FamilyReadout:
        return FamilyReadout(family, RidgeReadout(family.scores, self.covariates, self.n_dims, self.mode_sizes))


class TestQuantiles(FamilyTestCase):
    def readout(self) -> FamilyReadout:
        return self.of(QuantileFamily([0.2, 0.5, 0.8]))


class TestClasses(FamilyTestCase):
    targets = 1

    def readout(self) -> FamilyReadout:
        return self.of(ClassFamily(["a", "b"]))

    def known(self, count: int = 8, seed: int = 0) -> Known:
        known = super().known(count, seed)
        score = known.target + 3 * known.covariates.sum(1, keepdim=True)
        return known._replace(target=(score > score.median()).float())


class TestHazards(FamilyTestCase):
    def readout(self) -> FamilyReadout:
        return self.of(HazardFamily([1.0, 3.0]))

    def known(self, count: int = 8, seed: int = 0) -> Known:
        known = super().known(count, seed)
        time = (known.target[:, 1] + 3 * known.covariates.sum(1)).exp()
        return known._replace(target=torch.stack([time, (torch.arange(len(time)) % 3 > 0).float()], 1))


def test_as_many_scores_as_the_family_has() -> None:
    with pytest.raises(ValueError, match="the family has 1 scores, the readout predicts 2"):
        FamilyReadout(QuantileFamily([0.5]), RidgeReadout(2, 0, 3, [4]))
