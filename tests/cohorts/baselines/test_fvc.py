"""Baselines of lung function: values by hand, the spread against a search, and what a cohort without noise must give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from monai_cpic.cohorts import Baseline, OSICCohort
from monai_cpic.cohorts.baselines import predictions_of_baselines
from monai_cpic.cohorts.baselines.fvc import BaselineAndMeanSlope, ConstantFVC, FVCRidge
from monai_cpic.cohorts.baselines.fvc_spread import FVCSpread
from monai_cpic.metrics import laplace_log_likelihood


def patient(years: Sequence[float], slope: float, covariate: float = 0.0, fvc: Sequence[float] | None = None) -> dict[str, Any]:
    """A patient who begins with 3000 ml and has the given slope, in ml per year."""
    time = torch.tensor(years)
    return {
        "weeks": (52 * time).long(),
        "covariates": torch.stack([time, torch.full_like(time, covariate)], 1),
        "baseline_fvc": 3000.0,
        "fvc": 3000 + slope * time if fvc is None else torch.tensor(fvc),
        "label": torch.full((len(years), 2), slope / 200),
    }


def test_the_constant_is_the_quantiles_of_what_was_measured() -> None:
    training = [patient([1.0], 0, fvc=[2600.0]), patient([1.0, 2.0, 3.0], 0, fvc=[2900.0, float("nan"), 2500.0])]
    baseline = ConstantFVC()
    baseline.fit(training)
    first, second = baseline.predict(training)
    expected = np.quantile([2600, 2900, 2500], [0.2, 0.5, 0.8])
    np.testing.assert_allclose(first, expected[None], rtol=1e-6)
    np.testing.assert_allclose(second, np.tile(expected, (3, 1)), rtol=1e-6)


def test_the_mean_slope_starts_at_the_baseline() -> None:
    training = [patient([1.0, 2.0], -100.0), patient([1.0], -400.0), patient([0.5], float("nan"), fvc=[2900.0])]
    baseline = BaselineAndMeanSlope()
    baseline.fit(training)
    (new,) = baseline.predict([patient([0.0, 2.0], 0.0)])
    np.testing.assert_allclose(new[:, 1], [3000, 3000 - 2 * 250], rtol=1e-6)
    # each is predicted with the slopes of the others: the errors are 300 at 1 year, 600 at 2, -300 at 1, and 25 at half a year
    expected = FVCSpread.fit(np.array([1.0, 2.0, 1.0, 0.5]), np.array([300.0, 600.0, -300.0, 25.0]))
    np.testing.assert_allclose(new[:, 2] - new[:, 0], np.hypot(expected.visit, expected.slope * np.array([0.0, 2.0])), rtol=1e-3)


def test_the_ridge_finds_slopes_that_the_covariates_explain() -> None:
    training = [patient([0.5, 1.0, 1.5], -200 + 150 * x, x) for x in np.linspace(-1, 1, 12)]
    baseline = FVCRidge()
    baseline.fit(training)
    (new,) = baseline.predict([patient([1.0], 0.0, 0.5)])
    assert new[0, 1].item() == pytest.approx(3000 - 125, abs=3) and new[0, 2] - new[0, 0] < 70


def test_the_spread_has_the_best_score() -> None:
    rng = np.random.default_rng(0)
    years = rng.uniform(0, 3, 400)
    errors = rng.normal(size=400) * np.hypot(80, 200 * years)
    spread = FVCSpread.fit(years, errors)

    def score(candidate: FVCSpread) -> float:
        return laplace_log_likelihood(torch.tensor(errors), candidate.quantiles(np.zeros(400), years)).mean().item()

    grid = [FVCSpread(visit, slope) for visit in range(0, 400, 10) for slope in range(0, 600, 10)]
    assert score(spread) >= max(score(candidate) for candidate in grid)
    assert score(spread) > score(FVCSpread(np.sqrt(2) * np.abs(errors).mean(), 0.0)) + 0.05, "better than the best constant"
    median = torch.tensor([1000.0, 2000.0])
    quantiles = FVCSpread(60.0, 80.0).quantiles(median.numpy(), np.array([0.0, 1.0]))
    torch.testing.assert_close(quantiles, torch.tensor([[970.0, 1000, 1030], [1950, 2000, 2050]]).double())


@pytest.mark.parametrize("baseline", OSICCohort().baselines(), ids=lambda baseline: baseline.name)
@pytest.mark.parametrize("number", [1, 2, 7])
def test_a_baseline_needs_no_targets_and_few_patients(baseline: Baseline, number: int) -> None:
    training = [patient([0.5, 1.0], -100.0 * k - 50) for k in range(number)]
    predictions = predictions_of_baselines([baseline], training, training[:1], OSICCohort.targets)
    (quantiles,) = predictions[baseline.name]
    assert quantiles.shape == (2, 3) and quantiles.isfinite().all() and (quantiles.diff(dim=1) >= 0).all()


@pytest.mark.parametrize("baseline", [FVCRidge(), BaselineAndMeanSlope()], ids=lambda baseline: baseline.name)
def test_nothing_to_learn_from(baseline: Baseline) -> None:
    with pytest.raises(ValueError, match="none of 2 training patients"):
        baseline.fit([patient([1.0], float("nan"), fvc=[float("nan")])] * 2)
