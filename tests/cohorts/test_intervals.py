"""Intervals of new patients: closed forms, and coverage of simulated patients, some of them censored."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from monai_cpic.cohorts import BraTSCohort, OffsetIntervals, OSICCohort, ScaledIntervals
from monai_cpic.cohorts.calibration import CannotCalibrateError, conformal_quantile
from monai_cpic.cohorts.coverage import contains


def exactly(item: Mapping[str, Any]) -> Tensor:
    """The truth of a patient, when it is known."""
    return torch.tensor([[item["value"], item["value"]]])


def test_quantiles_are_scaled_about_the_median() -> None:
    patients = [{"value": value} for value in (104.0, 90.0, 106.0, 101.0)]
    outputs = [torch.tensor([[95.0, 100.0, 104.0]])] * 4
    intervals = ScaledIntervals(0.6, exactly)
    calibration = intervals.fit(patients, outputs)
    assert calibration == {"factor": 1.5}, "the third of the errors 0.25, 1, 1.5 and 2"
    torch.testing.assert_close(intervals(outputs[0], calibration), torch.tensor([[92.5, 106.0]]))
    torch.testing.assert_close(intervals(outputs[0], intervals.uncalibrated), torch.tensor([[95.0, 104.0]]))


def test_offsets_are_the_order_statistics_of_the_errors() -> None:
    errors = torch.randn(19, generator=torch.Generator().manual_seed(0)).mul(100).round()
    patients = [{"value": 1000.0 + error} for error in errors.tolist()]
    calibration = OffsetIntervals(0.6, exactly).fit(patients, [torch.tensor([[1000.0]])] * 19)
    ordered = errors.sort().values.tolist()
    assert calibration == {"below": -ordered[3], "above": ordered[15]}, "four of twenty are missed on either side"


def test_no_end_lies_below_the_lowest_value() -> None:
    intervals = OffsetIntervals(0.6, exactly, lowest=0.0)
    ends = intervals(torch.tensor([[50.0], [200.0]]), {"below": 100.0, "above": 10.0})
    torch.testing.assert_close(ends, torch.tensor([[0.0, 60.0], [100.0, 210.0]]))
    assert intervals.uncalibrated is None


def survivors(number: int, generator: torch.Generator, censored: float) -> tuple[list[dict[str, Any]], list[Tensor], Tensor]:
    """Patients of the BraTS cohort, predictions that are too early, and the true survival, which is exponential."""
    mean = 200 + 400 * torch.rand(number, generator=generator)
    days = mean * torch.empty(number).exponential_(generator=generator)
    seen = torch.empty(number).exponential_(censored / 400, generator=generator) if censored else torch.full((number,), math.inf)
    items = [
        {"patient": "A", "survival_days": min(d, s), "died": d <= s} for d, s in zip(days.tolist(), seen.tolist(), strict=True)
    ]
    return items, list((0.5 * mean).reshape(-1, 1, 1)), days


@pytest.mark.parametrize("censored", [0.0, 0.1])
def test_survival_lies_in_its_interval_as_often_as_promised(censored: float) -> None:
    intervals, generator = BraTSCohort.intervals, torch.Generator().manual_seed(0)
    assert intervals is not None
    items, outputs, _ = survivors(1000, generator, censored)
    calibration = intervals.fit(items, outputs)
    _, outputs, days = survivors(4000, generator, 0.0)
    ends = torch.cat([intervals(output, calibration) for output in outputs])
    early, late = (days < ends[:, 0]).double().mean().item(), (days > ends[:, 1]).double().mean().item()
    if censored:
        assert early < 0.23 and late < 0.23, "censored patients only widen it"
    else:
        assert early == pytest.approx(0.2, abs=0.03) and late == pytest.approx(0.2, abs=0.03)


def test_what_is_known_of_a_patients_survival() -> None:
    intervals = BraTSCohort.intervals
    assert intervals is not None
    known = [
        intervals.truth({"survival_days": days, "died": died}) for days, died in ((90.0, True), (90.0, False), (math.nan, False))
    ]
    expected = torch.tensor([[[90.0, 90.0]], [[90.0, math.inf]], [[math.nan, math.nan]]])
    torch.testing.assert_close(torch.stack(known), expected, equal_nan=True)


def test_many_living_patients_leave_no_upper_end() -> None:
    intervals = BraTSCohort.intervals
    assert intervals is not None
    items = [{"patient": f"{k}", "survival_days": 100.0 * k, "died": k % 2 == 0} for k in range(1, 11)]
    calibration = intervals.fit(items, [torch.tensor([[500.0]])] * 10)
    assert calibration["above"] == math.inf and math.isfinite(calibration["below"])
    assert contains(intervals(torch.tensor([[500.0]]), calibration), torch.tensor([[9999.0, math.inf]])) == 1


def test_a_prediction_that_is_no_number() -> None:
    intervals = OffsetIntervals(0.6, exactly)
    with pytest.raises(ValueError, match="patient B: the prediction is NaN"):
        intervals.fit([{"patient": "B", "value": 1.0}], [torch.tensor([[math.nan]])])


def test_too_few_patients_are_no_failure_of_a_training(caplog: pytest.LogCaptureFixture) -> None:
    item = {"fvc": torch.tensor([2450.0])}
    assert OSICCohort().calibrate([item], [torch.tensor([[2400.0, 2500.0, 2600.0]])]) is None
    assert "will not be calibrated: a coverage of 0.6 needs at least 2 held-out patients, got 1" in caplog.text
    with pytest.raises(CannotCalibrateError):
        conformal_quantile([torch.ones(1)], 0.6)
