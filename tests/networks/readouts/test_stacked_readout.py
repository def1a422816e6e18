"""The mean of two readouts: a quarter of the first with few scans, the better one with many."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from monai_cpic.networks import CoarseReadout, RidgeReadout, SampledField, StackedReadout, coarse_size
from monai_cpic.testing import ReadoutTestCase
from monai_cpic.testing.sampled_fields import random_fields

GRID = (4, 4, 2)


def fields(count: int, seed: int = 0) -> SampledField:
    coarse = torch.randn(count, coarse_size(GRID, 1), dtype=torch.float64, generator=torch.Generator().manual_seed(seed + 1))
    return replace(random_fields(count, (4, 6), (1, 3, 1), 3, (4, 3), seed), coarse=coarse)


class TestStacked(ReadoutTestCase):
    def readout(self) -> StackedReadout:
        fine = RidgeReadout(self.targets, self.covariates, self.n_dims, self.mode_sizes)
        return StackedReadout(fine, CoarseReadout(self.targets, self.covariates, GRID))

    def fields(self, count: int, seed: int = 0) -> SampledField:
        return fields(count, seed)


def stacked() -> StackedReadout:
    return StackedReadout(RidgeReadout(1, 0, 3, [4, 3]), CoarseReadout(1, 0, GRID))


def noise(count: int) -> Tensor:
    return torch.randn(count, 1, dtype=torch.float64)


@pytest.mark.parametrize("of_the_fine", [False, True])
def test_with_many_scans_it_is_the_readout_that_knows(of_the_fine: bool) -> None:
    known, new = fields(150), fields(50, seed=7)

    def signal(field: SampledField) -> Tensor:
        assert field.coarse is not None
        return field.means[:, :1] if of_the_fine else field.coarse[:, :4].sum(1, keepdim=True)

    readout = stacked()
    readout.fit(known, signal(known) + 0.1 * noise(150))
    assert float(readout.share) == pytest.approx(float(of_the_fine), abs=0.1)
    error = (readout(new) - signal(new)).square().mean() / signal(new).var()
    assert error < 0.2


def test_what_errs_elsewhere_is_averaged() -> None:
    known, new = fields(200), fields(80, seed=7)

    def target(field: SampledField) -> Tensor:
        assert field.coarse is not None
        return field.means[:, :1] + field.coarse[:, :1]

    readout = stacked()
    readout.fit(known, target(known) + 0.1 * noise(200))
    assert 0.2 < float(readout.share) < 0.8
    errors = [(each(new) - target(new)).square().mean() for each in (readout, readout.fine, readout.coarse)]
    assert errors[0] < min(errors[1:])


def test_with_few_scans_a_quarter_is_of_the_fine() -> None:
    readout = stacked()
    readout.fit(fields(4), noise(4))
    assert 0.1 < float(readout.share) < 0.4


def test_what_is_predicted_for_scans_left_out_is_the_mean_of_both() -> None:
    known, target = fields(12), noise(12)
    readout = stacked()
    left_out = readout.fit(known, target)
    fine, coarse = (part.fit(known, target) for part in (readout.fine, readout.coarse))
    torch.testing.assert_close(left_out, readout.share * fine + (1 - readout.share) * coarse)
