"""A readout for each family of targets."""

from __future__ import annotations

import torch

from monai_cpic.networks import ClassFamily, FamilyReadout, HazardFamily, QuantileFamily
from monai_cpic.testing import ReadoutTestCase
from monai_cpic.testing.readout import Known


class TestQuantiles(ReadoutTestCase):
    def readout(self) -> FamilyReadout:
        return FamilyReadout(QuantileFamily([0.2, 0.5, 0.8]), self.covariates, self.n_dims, self.mode_sizes)


class TestClasses(ReadoutTestCase):
    targets = 1

    def readout(self) -> FamilyReadout:
        return FamilyReadout(ClassFamily(["a", "b"]), self.covariates, self.n_dims, self.mode_sizes)

    def known(self, count: int = 8, seed: int = 0) -> Known:
        known = super().known(count, seed)
        score = known.target + 3 * known.covariates.sum(1, keepdim=True)
        return known._replace(target=(score > score.median()).float())


class TestHazards(ReadoutTestCase):
    def readout(self) -> FamilyReadout:
        return FamilyReadout(HazardFamily([1.0, 3.0]), self.covariates, self.n_dims, self.mode_sizes)

    def known(self, count: int = 8, seed: int = 0) -> Known:
        known = super().known(count, seed)
        time = (known.target[:, 1] + 3 * known.covariates.sum(1)).exp()
        return known._replace(target=torch.stack([time, (torch.arange(len(time)) % 3 > 0).float()], 1))
