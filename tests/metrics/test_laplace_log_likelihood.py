"""The OSIC score against hand-computed values, and inside MONAI and ignite."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from ignite.engine import Engine
from monai.handlers import IgniteMetricHandler

from monai_cpic.metrics import LaplaceLogLikelihood, laplace_log_likelihood

BEST = -math.log(70 * math.sqrt(2))


def quantiles(median: float, sigma: float) -> list[float]:
    return [median - sigma / 2, median, median + sigma / 2]


@pytest.mark.parametrize(
    ("fvc", "median", "sigma", "expected"),
    [
        (2500, 2500, 70, BEST),
        (2500, 2500, 1, BEST),  # more confidence than 70 ml is not rewarded
        (2500, 2500, -300, BEST),  # crossed quantiles count as the smallest confidence
        (2500, 2300, 200, -math.sqrt(2) - math.log(200 * math.sqrt(2))),
        (5000, 2000, 500, -math.sqrt(2) * 2 - math.log(500 * math.sqrt(2))),  # the error counts as 1000 ml
    ],
)
def test_score_of_a_row(fvc: float, median: float, sigma: float, expected: float) -> None:
    score = laplace_log_likelihood(torch.tensor([float(fvc)]), torch.tensor([quantiles(median, sigma)]))
    torch.testing.assert_close(score, torch.tensor([expected]))


def test_best_possible_score() -> None:
    exact = laplace_log_likelihood(torch.tensor([2500.0]), torch.tensor([quantiles(2500, 70)]))
    assert exact.item() == pytest.approx(-4.595, abs=5e-4)


@pytest.mark.parametrize(("fvc", "q"), [((2, 1), (2, 3)), ((2,), (3, 3)), ((2,), (2, 2)), ((), (3,))])
def test_refuses_wrong_shapes(fvc: tuple[int, ...], q: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="fvc_true must be"):
        laplace_log_likelihood(torch.zeros(fvc), torch.zeros(q))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_refuses_predictions_that_are_not_finite(value: float) -> None:
    q = torch.tensor([quantiles(2500, 100), [0.0, value, 1.0]])
    with pytest.raises(ValueError, match="1 of 2 predictions"):
        laplace_log_likelihood(torch.full((2,), 2500.0), q)


def test_metric_averages_over_visits_in_any_batching() -> None:
    q = 2500 + 400 * torch.randn(7, 3)
    fvc = 2500 + 400 * torch.randn(7)
    expected = laplace_log_likelihood(fvc, q).mean()

    metric = LaplaceLogLikelihood()
    metric(q[:3], fvc[:3])
    metric(y_pred=q[3:], y=fvc[3:, None])
    torch.testing.assert_close(metric.aggregate(), expected)

    metric.reset()
    metric([q[:2], q[2:]], [fvc[:2], fvc[2:]])  # two patients with two and five visits
    torch.testing.assert_close(metric.aggregate(), expected)
    assert len(metric) == 7

    metric.reset()
    metric(list(q), list(fvc))  # decollated rows
    torch.testing.assert_close(metric.aggregate(), expected)


def test_visits_that_were_not_measured_do_not_count() -> None:
    metric = LaplaceLogLikelihood()
    metric(torch.tensor([quantiles(2500, 70)] * 2), torch.tensor([2500.0, math.nan]))
    assert metric.aggregate().item() == pytest.approx(BEST)
    metric.reset()
    metric(torch.tensor([quantiles(2500, 70)]), torch.tensor([math.nan]))
    assert math.isnan(metric.aggregate().item())


def test_refuses_to_aggregate_nothing_or_score_without_truth() -> None:
    metric = LaplaceLogLikelihood()
    with pytest.raises(ValueError, match="nothing to aggregate"):
        metric.aggregate()
    with pytest.raises(ValueError, match="needs the measured FVC"):
        metric(torch.zeros(2, 3))


def test_as_ignite_metric() -> None:
    batches = [{"q": 2500 + 400 * torch.randn(n, 3), "fvc": 2500 + 400 * torch.randn(n)} for n in (4, 1, 3)]
    engine = Engine(lambda _, batch: batch)
    handler = IgniteMetricHandler(metric_fn=LaplaceLogLikelihood(), output_transform=lambda output: (output["q"], output["fvc"]))
    handler.attach(engine, "osic_score")
    engine.run(batches, max_epochs=2)
    scores = torch.cat([laplace_log_likelihood(batch["fvc"], batch["q"]) for batch in batches])
    assert engine.state.metrics["osic_score"] == pytest.approx(scores.mean().item())
    state: Any = engine.state  # to which MONAI adds the details
    assert state.metric_details["osic_score"].shape == (8, 1)  # the second epoch starts afresh
