"""Families of targets: losses against other formulas, links by what they do for rows that were left out."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from statsmodels.duration.hazard_regression import PHReg
from torch import Tensor, nn

from monai_cpic.networks import ClassFamily, Family, HazardFamily, QuantileFamily
from monai_cpic.networks.families.hazards import survival_curve

ROWS = 400
FAMILIES: dict[str, Family] = {
    "quantiles": QuantileFamily([0.2, 0.5, 0.8]),
    "classes": ClassFamily(["a", "b", "c"]),
    "hazards": HazardFamily([0.5, 1.0, 2.0]),
}


def target_of(name: str, score: Tensor) -> Tensor:
    """Targets of a true score: numbers that grow with it, classes, and times that are shorter the higher it is."""
    noise = torch.rand(len(score)).double()
    if name == "quantiles":
        return (score + noise)[:, None]
    if name == "classes":
        return torch.bucketize(score + noise, torch.tensor([-0.5, 1.0]).double())[:, None].double()
    time = -noise.log() * (-score).exp()
    limit = 2 * torch.rand(len(score)).double()
    return torch.stack([torch.minimum(time, limit), (time <= limit).double()], 1)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_link_improves_on_what_is_known_without_a_score(name: str) -> None:
    family, score = FAMILIES[name], torch.randn(ROWS).double()
    target = target_of(name, score)
    response = family.response(target)
    assert response.shape == (ROWS, family.scores) and response.dtype == torch.float64
    columns = torch.stack([torch.ones_like(score), score, score**2], 1)
    informed = columns @ torch.linalg.lstsq(columns, response).solution
    losses = []
    for scores in (informed, response.mean(0).expand_as(response)):
        family.fit(scores, target)
        outputs = family(scores)
        assert outputs.shape == (ROWS, family.outputs)
        losses.append(family.loss(outputs, target).item())
    assert losses[0] < 0.9 * losses[1]


@pytest.mark.parametrize("name", ["classes", "hazards"])
def test_a_score_that_points_to_the_wrong_side_is_not_used(name: str) -> None:
    family, score = FAMILIES[name], torch.randn(ROWS).double()
    target = target_of(name, score)
    family.fit(-family.response(target), target)
    assert family.link[0] == 0 and (family(torch.randn(2, family.scores).double()).diff(dim=0) == 0).all()


def test_quantiles_of_the_link_are_those_of_the_errors() -> None:
    family, score = QuantileFamily([0.2, 0.5, 0.8]), torch.randn(ROWS).double()
    target = target_of("quantiles", score)
    family.fit(score[:, None], target)
    low, _, high = family(score[:, None]).unbind(1)
    assert ((low <= target[:, 0]) & (target[:, 0] <= high)).double().mean().item() == pytest.approx(0.6, abs=0.01)


def test_cross_entropy() -> None:
    outputs, labels = torch.randn(5, 3), torch.tensor([0, 2, 1, 1, 0])
    expected = nn.functional.cross_entropy(outputs, labels)
    torch.testing.assert_close(ClassFamily(["a", "b", "c"]).loss(outputs, labels[:, None].float()), expected)


def test_the_likelihood_of_hazards_is_that_of_the_curve() -> None:
    """Of an event, the fall of the curve in its interval; of a censored time, what is left of the curve."""
    family, outputs = HazardFamily([1.0, 2.0, 4.0]), torch.randn(6, 3).double()
    target = torch.tensor([[0.0, 1.0], [1.0, 1.0], [3.0, 1.0], [0.2, 0.0], [1.9, 0.0], [9.0, 0.0]])
    curve = torch.cat([torch.ones(6, 1).double(), survival_curve(outputs)], 1)
    likelihood = [curve[0, 0] - curve[0, 1], curve[1, 0] - curve[1, 1], curve[2, 2] - curve[2, 3], 1, curve[4, 2], curve[5, 3]]
    expected = -torch.stack([torch.as_tensor(each).double() for each in likelihood]).log().mean()
    torch.testing.assert_close(family.loss(outputs, target), expected)


def test_the_response_of_a_survival_is_the_martingale_residual() -> None:
    target = target_of("hazards", torch.zeros(60))
    target[:, 0] = (10 * target[:, 0]).ceil() / 10  # with ties
    time, event = target.numpy().T
    model = PHReg(time, torch.zeros(60, 1).numpy(), status=event, ties="breslow")
    ((days, before, _),) = model.baseline_cumulative_hazard([0.0])
    hazard = dict(zip(days[1:], before[1:], strict=False))
    residuals = HazardFamily([1.0]).response(target)[:, 0]
    assert residuals.sum().item() == pytest.approx(0, abs=1e-9)
    for day, following in pairwise(days):
        chosen = torch.tensor((time >= day) & (time < following))
        expected = torch.tensor(event)[chosen] - hazard[following]
        torch.testing.assert_close(residuals[chosen], expected)


@pytest.mark.parametrize("outputs", [[], [0.0, 1.0], [2.0, 1.0]])
def test_ends_that_are_none(outputs: list[float]) -> None:
    with pytest.raises(ValueError):
        HazardFamily(outputs)


def test_a_high_score_is_a_high_risk() -> None:
    family, score = HazardFamily([0.5, 1.0, 2.0]), torch.randn(ROWS).double()
    family.fit(score[:, None], target_of("hazards", score))
    low, high = survival_curve(family(torch.tensor([[-1.0], [1.0]])))
    assert (high < low).all() and family.link[0].item() == pytest.approx(1, abs=0.5)


def test_an_event_at_the_end_of_an_interval_is_in_it() -> None:
    """Times are float32; 1.1 is larger there than in float64."""
    family = HazardFamily([0.5, 1.1])
    target = torch.tensor([[1.1, 1.0]])
    died, lived = family.loss(torch.tensor([[-9.0, 9.0]]), target), family.loss(torch.tensor([[-9.0, -9.0]]), target)
    assert died < 0.01 and lived > 8
