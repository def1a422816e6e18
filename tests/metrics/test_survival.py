"""Scores of survival times against numpy, scipy and the definition pair by pair."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau, spearmanr
from statsmodels.duration.survfunc import SurvfuncRight

from monai_cpic.metrics import concordance_index, integrated_brier_score, survival_classes, survival_scores

TIMES = st.integers(1, 12)


def test_classes_at_their_limits() -> None:
    assert survival_classes(torch.tensor([0.0, 299.9, 300, 450, 450.1, 1767])).tolist() == [0, 0, 1, 1, 2, 2]


def test_scores_are_those_of_numpy_and_scipy() -> None:
    rng = np.random.default_rng(0)
    days_true = rng.integers(5, 1700, 119).astype(float)
    days = 0.5 * days_true + rng.uniform(0, 600, 119)
    scores = survival_scores(torch.tensor(days), torch.tensor(days_true))
    squared = (days - days_true) ** 2
    assert scores["MSE"] == pytest.approx(squared.mean())
    assert scores["medianSE"] == pytest.approx(np.median(squared))
    assert scores["stdSE"] == pytest.approx(squared.std())
    assert scores["SpearmanR"] == pytest.approx(spearmanr(days, days_true)[0])
    classes = [np.digitize(values, [300, 450.0000001]) for values in (days, days_true)]
    assert scores["accuracy"] == pytest.approx(np.mean(classes[0] == classes[1]))


def test_median_of_an_even_number() -> None:
    assert survival_scores(torch.tensor([1.0, 2.0]), torch.tensor([0.0, 0.0]))["medianSE"] == 2.5


def test_undefined_scores_are_nan() -> None:
    constant = survival_scores(torch.full((3,), 400.0), torch.tensor([100.0, 400.0, 900.0]))
    assert math.isnan(constant["SpearmanR"]) and constant["accuracy"] == pytest.approx(1 / 3)
    assert all(math.isnan(value) for value in survival_scores(torch.empty(0), torch.empty(0)).values())


@given(st.lists(st.tuples(TIMES, TIMES, st.booleans()), max_size=12))
def test_concordance_pair_by_pair(patients: list[tuple[int, int, bool]]) -> None:
    agreed, known = 0.0, 0
    for days, true, died in patients:
        for others, other_true, other_died in patients:
            if died and (true < other_true or (true == other_true and not other_died)):
                known += 1
                agreed += 1.0 if days < others else 0.5 if days == others else 0.0
    columns = torch.tensor(patients, dtype=torch.float64).reshape(-1, 3).unbind(1)
    index = concordance_index(columns[0], columns[1], columns[2] > 0)
    assert math.isnan(index) if not known else index == pytest.approx(agreed / known)


def test_concordance_without_censoring_is_kendalls_tau() -> None:
    days, true = torch.randn(2, 50, dtype=torch.float64)
    tau = kendalltau(days, true).statistic
    assert concordance_index(days, true, torch.ones(50, dtype=torch.bool)) == pytest.approx((tau + 1) / 2)
    assert concordance_index(true, true, torch.ones(50, dtype=torch.bool)) == 1


def test_values_must_fit_and_be_finite() -> None:
    for values in (torch.zeros(3, 1), torch.zeros(2)):
        with pytest.raises(ValueError, match="a value \\[N\\] for each patient"):
            survival_scores(values, torch.zeros(3))
        with pytest.raises(ValueError, match="a value \\[N\\] for each patient"):
            concordance_index(values, torch.zeros(3), torch.ones(3, dtype=torch.bool))
    with pytest.raises(ValueError, match="1 of 3 predictions are NaN or infinite"):
        survival_scores(torch.tensor([1.0, math.nan, 2.0]), torch.zeros(3))


def test_the_brier_score_without_censoring_is_a_mean_of_squares() -> None:
    rng = np.random.default_rng(0)
    days, times = rng.exponential(2, 50), np.array([0.5, 1.0, 2.5])
    survival = np.sort(rng.random((50, 3)))[:, ::-1]
    squared = np.square(survival - (days[:, None] > times)).mean(0)
    expected = ((squared[0] + squared[1]) / 2 * 0.5 + (squared[1] + squared[2]) / 2 * 1.5) / 2
    assert integrated_brier_score(survival, times, days, np.ones(50, bool)) == pytest.approx(expected)
    assert integrated_brier_score(survival[:, :1], times[:1], days, np.ones(50, bool)) == pytest.approx(squared[0])
    assert math.isnan(integrated_brier_score(np.empty((0, 3)), times, np.empty(0), np.empty(0, bool)))


def test_the_brier_score_ends_where_nobody_is_known() -> None:
    """After the last patient was censored, only those who died before would count."""
    survival, days, died = np.full((2, 2), 0.5), [2.0, 2.5], [True, False]
    assert integrated_brier_score(survival, [1.0, 3.0], days, died) == pytest.approx(0.25)
    assert math.isnan(integrated_brier_score(survival[:, 1:], [3.0], days, died))


def test_the_brier_score_weights_by_the_curve_of_those_who_were_censored() -> None:
    rng = np.random.default_rng(1)
    days, died = rng.permutation(40) + 1.0, rng.random(40) < 0.6  # without ties
    curve = SurvfuncRight(days, (~died).astype(int))

    def uncensored(day: float) -> float:
        return float(np.concatenate([[1.0], curve.surv_prob])[np.searchsorted(curve.surv_times, day, side="right")])

    time, survival = 20.0, rng.random(40)
    errors = [
        (1 - s) ** 2 / uncensored(time) if day > time else s**2 / uncensored(day) * d
        for s, day, d in zip(survival, days, died, strict=True)
    ]
    found = integrated_brier_score(survival[:, None], [time], days, died)
    assert found == pytest.approx(np.mean(errors))
