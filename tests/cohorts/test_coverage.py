"""How often intervals of held-out patients contain the truth."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor

from monai_cpic.cohorts import BraTSCohort, OffsetIntervals, OSICCohort
from monai_cpic.cohorts.calibration import CannotCalibrateError
from monai_cpic.cohorts.coverage import left_out_intervals, measure_coverage


def lungs(number: int, seed: int = 0) -> tuple[list[dict[str, Any]], list[Tensor], pd.DataFrame]:
    """Patients with several visits, whose errors are skewed and correlated, and intervals that are far too narrow."""
    generator = torch.Generator().manual_seed(seed)
    items, outputs = [], []
    for visits in torch.randint(1, 9, (number,), generator=generator).tolist():
        median = 1000 * torch.rand(visits, generator=generator) + 2000
        own = 100 * torch.randn(1, generator=generator).exp()
        items.append({"fvc": median + own + 50 * torch.randn(visits, generator=generator)})
        outputs.append(torch.stack([median - 30, median, median + 50], 1))
    rows = sum(map(len, outputs))
    return items, outputs, pd.DataFrame({"half": ["first"] * (rows // 2) + ["second"] * (rows - rows // 2)})


def test_calibrated_intervals_cover_what_they_should() -> None:
    """Twenty cohorts: the standard error of one is about 3 %."""
    shares = []
    for seed in range(20):
        items, outputs, _ = lungs(200, seed)
        intervals = OSICCohort.intervals
        assert intervals is not None
        ends = left_out_intervals(intervals, items, outputs)
        inside = [
            ((end[:, 0] <= item["fvc"]) & (item["fvc"] <= end[:, 1])).double().mean()
            for end, item in zip(ends, items, strict=True)
        ]
        shares.append(torch.stack(inside).mean().item())
    assert 0.57 < sum(shares) / 20 < 0.63, "of a random visit of each patient"


def test_before_and_after_the_calibration_and_by_group() -> None:
    items, outputs, groups = lungs(200)
    intervals = OSICCohort.intervals
    assert intervals is not None
    coverage = measure_coverage(intervals, items, outputs, groups, "visits")
    assert coverage.before is not None and coverage.before.value < 0.35
    assert 0.5 < coverage.after.low < coverage.after.value < coverage.after.high < 0.7
    assert (coverage.patients, coverage.unknown) == (200, 0)
    metrics = coverage.metrics()
    assert list(metrics["groups"]) == ["half: first", "half: second"]
    halves = list(metrics["groups"].values())
    for name, overall in (("coverage_before", coverage.before), ("coverage", coverage.after)):
        assert sum(half[name] * half["visits"] for half in halves) == pytest.approx(
            overall.value * sum(h["visits"] for h in halves)
        )
    assert metrics["median_width"] == pytest.approx((coverage.ends[:, 1] - coverage.ends[:, 0]).median().item())
    assert f"contain 60 % of the true values. They contain {100 * coverage.after.value:.0f} %" in coverage.sentence()


def test_each_patient_is_calibrated_without_himself() -> None:
    values = [float(value) for value in (1, 2, 3, 4, 5, 6, 7, 100)]
    intervals = OffsetIntervals(0.2, lambda item: torch.tensor([[item["value"], item["value"]]]))
    ends = left_out_intervals(intervals, [{"value": value} for value in values], [torch.zeros(1, 1)] * 8)
    for number, own in enumerate(ends):
        others = sorted(values[:number] + values[number + 1 :])
        assert own.tolist() == [[others[2], others[4]]], "the third and the fifth of seven"


def test_patients_of_whom_it_is_not_known_are_counted() -> None:
    """Whether a living patient will die within the interval is not known, unless he has outlived it."""
    items = [{"patient": f"{k}", "survival_days": 100.0 + 10 * k, "died": True} for k in range(20)]
    items += [
        {"patient": "alive", "survival_days": 150.0, "died": False},
        {"patient": "?", "survival_days": math.nan, "died": False},
    ]
    items += [{"patient": "old", "survival_days": 9999.0, "died": False}]
    intervals = BraTSCohort.intervals
    assert intervals is not None
    coverage = measure_coverage(intervals, items, [torch.tensor([[200.0]])] * 23, pd.DataFrame(), "patients")
    assert (coverage.patients, coverage.unknown, coverage.before, coverage.groups) == (21, 2, None, [])
    assert coverage.metrics()["patients_of_unknown_truth"] == 2 and "coverage_before" not in coverage.metrics()
    assert "2 more do not count, because it is not known" in coverage.sentence()


def test_too_few_others() -> None:
    items, outputs, groups = lungs(2)
    intervals = OSICCohort.intervals
    assert intervals is not None
    with pytest.raises(CannotCalibrateError, match="needs at least 2 held-out patients, got 1"):
        measure_coverage(intervals, items, outputs, groups, "visits")
