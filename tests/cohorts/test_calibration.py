"""Conformal intervals: the order statistic of the textbook, coverage of new patients, and patients with several visits."""

from __future__ import annotations

import math

import pytest
import torch

from monai_cpic.cohorts.calibration import IntervalCalibration, conformal_quantile


@pytest.mark.parametrize("coverage", [0.1, 0.5, 0.6, 0.9])
def test_with_one_row_each_it_is_the_order_statistic_of_split_conformal(coverage: float) -> None:
    errors = torch.rand(19, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = errors.sort().values[math.ceil(20 * coverage) - 1]
    assert conformal_quantile(list(errors[:, None]), coverage) == expected


def test_each_patient_counts_once() -> None:
    """A patient with a hundred large errors weighs as much as one with a single small one."""
    errors = [torch.full((100,), 9.0), *(torch.tensor([float(k)]) for k in range(1, 9))]
    assert conformal_quantile(errors, 0.8) == 8
    twice = [torch.tensor([1.0, 4.0]), torch.tensor([2.0, 3.0]), torch.tensor([5.0])]
    assert conformal_quantile(twice, 0.5) == 4, "half of four patients: 1/2 + 1/2 + 1/2 + 1/2"
    assert conformal_quantile(twice, 0.375) == 3


def test_what_was_not_measured_does_not_count() -> None:
    nan = math.nan
    assert conformal_quantile([torch.tensor([nan, 1.0]), torch.tensor([nan]), torch.tensor([2.0])], 0.6) == 2


@pytest.mark.parametrize("coverage", [0.0, 1.0, -1.0])
def test_a_coverage_is_a_probability(coverage: float) -> None:
    with pytest.raises(ValueError, match=r"between 0 and 1, got"):
        conformal_quantile([torch.ones(1)] * 9, coverage)


def test_too_few_patients() -> None:
    with pytest.raises(ValueError, match="a coverage of 0.9 needs at least 9 held-out patients, got 8"):
        conformal_quantile([torch.ones(1)] * 8, 0.9)
    assert conformal_quantile([torch.ones(1)] * 9, 0.9) == 1


def test_new_patients_are_covered_as_promised() -> None:
    """Skewed errors, correlated within a patient, and intervals that are far too narrow."""
    generator = torch.Generator().manual_seed(0)

    def patients(number: int) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        outputs, measured = [], []
        for visits in torch.randint(1, 9, (number,), generator=generator).tolist():
            own = 100 * torch.randn(1, generator=generator).exp()
            median = 1000 * torch.rand(visits, generator=generator) + 2000
            measured.append(median + own + 50 * torch.randn(visits, generator=generator))
            outputs.append(torch.stack([median - 30, median, median + 50], 1))
        return outputs, measured

    def coverage(outputs: list[torch.Tensor], measured: list[torch.Tensor]) -> float:
        """Of a random visit of each patient."""
        inside = [((q[:, 0] <= y) & (y <= q[:, 2])).double().mean() for q, y in zip(outputs, measured, strict=True)]
        return torch.stack(inside).mean().item()

    calibration = IntervalCalibration.fit(*patients(400), coverage=0.6)
    outputs, measured = patients(2000)
    assert coverage(outputs, measured) < 0.35
    assert coverage([calibration(own) for own in outputs], measured) == pytest.approx(0.6, abs=0.06)


def test_the_median_stays_and_the_order_too() -> None:
    quantiles = torch.tensor([[1.0, 2.0, 5.0], [3.0, 3.0, 3.0]])
    torch.testing.assert_close(IntervalCalibration(0.5)(quantiles), torch.tensor([[1.5, 2.0, 3.5], [3.0, 3.0, 3.0]]))


def test_an_interval_without_width() -> None:
    outputs = [torch.tensor([[3.0, 3.0, 3.0]])] * 3
    assert IntervalCalibration.fit(outputs, [torch.tensor([3.0])] * 3, 0.5).factor == 0
    with pytest.raises(ValueError, match="no factor gives a coverage of 0.5"):
        IntervalCalibration.fit(outputs, [torch.tensor([4.0])] * 3, 0.5)


@pytest.mark.parametrize("quantiles", [[3.0, 2.0, 1.0], [1.0, 2.0, math.nan]])
def test_quantiles_that_are_not_in_order(quantiles: list[float]) -> None:
    with pytest.raises(ValueError, match="patient 1: quantiles .* NaN or not in order"):
        IntervalCalibration.fit([torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([quantiles])], [torch.ones(1)] * 2, 0.5)
