"""Ridge regression on the coarse scan, against scikit-learn on the same columns."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from averaged_ridge import Averaged, few_candidates
from torch import Tensor

from monai_cpic.data import open_volume
from monai_cpic.networks import CoarseReadout, CPICNet, RandomCells, SampledField, coarse_size, scan_summary
from monai_cpic.testing import ReadoutTestCase
from monai_cpic.testing.sampled_fields import random_fields

GRID = (4, 4, 1)  # 16 cells and 16 parts of each channel, and a summary of 10 numbers of each and 3 extents


def fields(count: int, summary: bool = True, seed: int = 0, channels: int = 1) -> SampledField:
    field, cells = random_fields(count, (4, 6), (1, 3, 1), 3, (4, 3), seed), 32 * channels
    coarse = torch.randn(count, coarse_size(GRID, channels), dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    coarse += 5
    coarse[:, 32:cells] *= 100  # other units
    coarse[:, cells] *= 100
    if not summary:
        coarse[:, cells:] = 0
    return replace(field, coarse=coarse)


class TestCoarse(ReadoutTestCase):
    def readout(self) -> CoarseReadout:
        return CoarseReadout(self.targets, self.covariates, GRID)

    def fields(self, count: int, seed: int = 0) -> SampledField:
        return fields(count, seed=seed)


def parts_of(known: SampledField, of: SampledField, covariates: Tensor, channels: int) -> list[Tensor]:
    """The coarse scan, the summary and the covariates, with columns that are scaled as in the fit to the known fields."""
    assert known.coarse is not None and of.coarse is not None
    sizes = (*[16] * 2 * channels, known.coarse.shape[1] - 32 * channels)
    *seen, summary = known.coarse.split(sizes, 1)
    *scan, numbers = of.coarse.split(sizes, 1)
    scan = [each / (part - part.mean(0)).square().sum(1).mean().sqrt() for each, part in zip(scan, seen, strict=True)]
    spread = summary.std(0, correction=0)
    numbers = numbers.clamp(summary.amin(0), summary.amax(0))  # nothing beyond the fit
    return [torch.cat(scan, 1), numbers / spread.where(spread > 0, 1.0), covariates]


@pytest.mark.parametrize("summary", [False, True])
@pytest.mark.parametrize("covariates", [0, 2])
@pytest.mark.parametrize("channels", [1, 2])
def test_it_is_the_mean_of_ridge_regressions(
    summary: bool, covariates: int, channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    few_candidates(monkeypatch)
    known, new = fields(14, summary, 0, channels), fields(3, summary, 1, channels)
    others = torch.randn(17, covariates, dtype=torch.float64)
    assert known.coarse is not None
    told = [known.coarse[:, 0], known.coarse[:, -1], *(2 * others[:14]).unbind(1)]
    target = torch.stack(told, 1).sum(1, keepdim=True) + 0.1 * torch.randn(14, 2, dtype=torch.float64)
    readout = CoarseReadout(2, covariates, GRID, channels)
    left_out = readout.fit(known, target, others[:14])
    expected = Averaged(parts_of(known, known, others[:14], channels), target, torch.arange(14))
    torch.testing.assert_close(left_out, expected.left_out, rtol=1e-6, atol=1e-6)
    predicted = expected.predict(parts_of(known, new, others[14:], channels))
    torch.testing.assert_close(readout(new, others[14:]), predicted, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(readout.penalty, expected.penalty)
    torch.testing.assert_close(readout.weights, expected.weights)


def test_rows_of_a_scan_are_left_out_together(monkeypatch: pytest.MonkeyPatch) -> None:
    few_candidates(monkeypatch)
    known, rows, covariates = fields(10), torch.arange(20) % 10, torch.randn(20, 1, dtype=torch.float64)
    target = covariates + torch.randn(10, 1, dtype=torch.float64)[rows]
    readout = CoarseReadout(1, 1, GRID)
    left_out = readout.fit(known, target, covariates, rows)
    expected = Averaged(parts_of(known[rows], known[rows], covariates, 1), target, rows)
    torch.testing.assert_close(left_out, expected.left_out, rtol=1e-6, atol=1e-6)


def test_the_units_of_a_channel_do_not_matter() -> None:
    known, new = fields(14, channels=2), fields(3, seed=1, channels=2)
    assert known.coarse is not None and new.coarse is not None
    target = known.coarse[:, :1]
    predicted = []
    for scale in (1.0, 1e-6):
        units = torch.ones(coarse_size(GRID, 2), dtype=torch.float64)
        units[32:64] = units[74:76] = scale  # the cells, the mean and the deviation
        readout = CoarseReadout(1, 0, GRID, 2)
        readout.fit(replace(known, coarse=known.coarse * units), target)
        predicted.append(readout(replace(new, coarse=new.coarse * units)))
    torch.testing.assert_close(predicted[0], predicted[1])


def test_a_channel_that_is_constant_but_for_rounding_has_no_weight() -> None:
    known, new = fields(14, channels=2), fields(3, seed=1, channels=2)
    assert known.coarse is not None and new.coarse is not None
    of_the_first = [*range(32), *range(64, 74), *range(84, 87)]
    known.coarse[:, 32:64] = (0.7 + 6e-8 * torch.randn(14, 32)).float().double()
    new.coarse[:, 32:64] = 0.701
    for field in (known, new):
        assert field.coarse is not None
        extents = torch.ones(3).double()
        field.coarse[:, 74:84] = torch.stack([scan_summary(cells[None], extents)[:10] for cells in field.coarse[:, 32:64]])
    readout, alone = CoarseReadout(1, 0, GRID, 2), CoarseReadout(1, 0, GRID)
    readout.fit(known, known.coarse[:, :1])
    alone.fit(replace(known, coarse=known.coarse[:, of_the_first]), known.coarse[:, :1])
    other = replace(new, coarse=new.coarse[:, of_the_first])
    torch.testing.assert_close(readout(new), alone(other), rtol=1e-4, atol=1e-4)


def test_the_units_of_the_summary_do_not_matter() -> None:
    known, new = fields(14), fields(3, seed=1)
    assert known.coarse is not None and new.coarse is not None
    predicted = []
    for scale in (1.0, 1e5, 1e-6):
        units = torch.ones(coarse_size(GRID, 1), dtype=torch.float64)
        units[40] = scale  # a number of the summary
        readout = CoarseReadout(1, 0, GRID)
        readout.fit(replace(known, coarse=known.coarse * units), known.coarse[:, 40:41])
        predicted.append(readout(replace(new, coarse=new.coarse * units)))
    assert torch.corrcoef(torch.cat([predicted[0], new.coarse[:, 40:41]], 1).T)[0, 1] > 0.9
    torch.testing.assert_close(predicted[1], predicted[0])
    torch.testing.assert_close(predicted[2], predicted[0])


@pytest.mark.parametrize("constant", [0.7, 1e5])
def test_a_number_of_the_summary_that_is_constant_but_for_rounding_has_no_weight(constant: float) -> None:
    known, new = fields(14), fields(3, seed=1)
    assert known.coarse is not None and new.coarse is not None
    predicted = []
    for seed in (0, 1):
        noise = torch.randn(17, generator=torch.Generator().manual_seed(seed)).double()
        known.coarse[:, 40] = constant * (1 + 6e-8 * noise[:14])
        new.coarse[:, 40] = constant * (1 + 6e-8 * noise[14:])
        readout = CoarseReadout(1, 0, GRID)
        readout.fit(known, known.coarse[:, 41:42])  # another number of the summary
        assert readout.weights[1] > 0
        predicted.append(readout(new))
    torch.testing.assert_close(predicted[1], predicted[0])


def test_a_field_without_a_coarse_scan_is_refused() -> None:
    with pytest.raises(ValueError, match="needs the coarse scan"):
        CoarseReadout(1, 0, GRID).fit(replace(fields(5), coarse=None), torch.rand(5, 1))


def test_other_covariates_are_refused() -> None:
    readout = CoarseReadout(1, 2, GRID)
    with pytest.raises(ValueError, match="takes 2 covariates, got 1"):
        readout.fit(fields(5), torch.rand(5, 1), torch.rand(5, 1))


def test_a_network_reads_the_whole_scan_for_it() -> None:
    shape = (16, 16, 8)
    scans = [open_volume(torch.rand(1, *shape) + 0.1 * k) for k in range(8)]
    targets = torch.arange(8.0)[:, None]
    cells = RandomCells(shape, 16, 8)
    network = CPICNet(decomposition=cells, readout=CoarseReadout(1, 0, shape))
    network.refresh([(scans[:4], targets[:4], None), (scans[4:], targets[4:], None)])
    with torch.no_grad():
        predicted = network(scans)
        torch.testing.assert_close(network(scans[2:3]), predicted[2:3])
    assert torch.corrcoef(torch.stack([predicted[:, 0], targets[:, 0]]))[0, 1] > 0.95


def test_a_summary_beyond_those_of_the_fit_is_not_extrapolated_to() -> None:
    known, new = fields(14), fields(3, seed=1)
    assert known.coarse is not None and new.coarse is not None
    readout = CoarseReadout(1, 0, GRID)
    readout.fit(known, known.coarse[:, 40:41])
    highest, far = new.coarse.clone(), new.coarse.clone()
    highest[:, 40], far[:, 40] = known.coarse[:, 40].max(), 1e9
    torch.testing.assert_close(readout(replace(new, coarse=far)), readout(replace(new, coarse=highest)), rtol=1e-4, atol=1e-4)
