"""Intervals by patient: against the formula of the mean, pairing, values that are not defined, and very few patients."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
from numpy.typing import NDArray

from monai_cpic.cohorts.bootstrap import Estimate, bootstrap_by_patient

Rows = NDArray[np.int64]


def test_the_interval_of_a_mean_is_that_of_its_standard_error() -> None:
    values = np.random.default_rng(0).normal(size=200)
    (mean,) = bootstrap_by_patient(lambda rows: [values[rows].mean()], [1] * 200)
    assert mean.value == pytest.approx(values.mean())
    half = NormalDist().inv_cdf(0.975) * values.std() / math.sqrt(200)
    assert mean.low == pytest.approx(values.mean() - half, abs=0.15 * half)
    assert mean.high == pytest.approx(values.mean() + half, abs=0.15 * half)


def test_patients_are_drawn_with_all_of_their_rows() -> None:
    """A hundred equal rows of each of 20 patients say no more than one."""
    values = np.random.default_rng(0).normal(size=20)
    repeated = np.repeat(values, 100)
    (one,) = bootstrap_by_patient(lambda rows: [values[rows].mean()], [1] * 20)
    (many,) = bootstrap_by_patient(lambda rows: [repeated[rows].mean()], [100] * 20)
    assert many.interval == pytest.approx(one.interval)
    drawn: list[Rows] = []

    def statistics(rows: Rows) -> list[float]:
        drawn.append(rows)
        return [0.0]

    bootstrap_by_patient(statistics, [2, 0, 3])
    assert all(set(rows) <= {0, 1} or set(rows) >= {2, 3, 4} for rows in drawn)
    assert any(len(rows) == 9 for rows in drawn), "the last patient three times"


def test_a_difference_is_paired() -> None:
    rng = np.random.default_rng(0)
    first = 100 * rng.normal(size=50)
    second = first + 1 + 0.1 * rng.normal(size=50)

    def statistics(rows: Rows) -> list[float]:
        return [first[rows].mean(), second[rows].mean(), (second[rows] - first[rows]).mean()]

    one, _, difference = bootstrap_by_patient(statistics, [1] * 50)
    assert one.high - one.low > 30 and difference.high - difference.low < 0.1
    assert difference.low < 1 < difference.high


def test_a_resample_that_does_not_define_a_value_does_not_count() -> None:
    values = np.array([1.0, 2.0, 3.0, np.nan])

    def statistics(rows: Rows) -> list[float]:
        known = values[rows][np.isfinite(values[rows])]
        return [known.mean() if len(known) else math.nan, math.nan]

    mean, never = bootstrap_by_patient(statistics, [1] * 4)
    assert mean.value == 2 and 1 <= mean.low < mean.high <= 3
    assert math.isnan(never.value) and math.isnan(never.low) and math.isnan(never.high)


def test_one_patient_has_no_interval_and_two_have() -> None:
    values = np.array([1.0, 3.0])
    (alone,) = bootstrap_by_patient(lambda rows: [values[rows].mean()], [2])
    assert alone.value == 2 and math.isnan(alone.low) and math.isnan(alone.high)
    assert bootstrap_by_patient(lambda rows: [values[rows].mean()], [1, 1]) == [Estimate(2.0, 1.0, 3.0)]


def test_equal_data_give_equal_intervals() -> None:
    values = np.random.default_rng(0).normal(size=9)
    first, second = (bootstrap_by_patient(lambda rows: [values[rows].max()], [1] * 9) for _ in range(2))
    assert first == second
