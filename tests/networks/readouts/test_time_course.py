"""A course over time: what the scan says is added to what the covariates say, and costs nothing if it says nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from fields import sampled
from scipy.stats import laplace
from torch import Tensor

from monai_cpic.data import open_volume
from monai_cpic.networks import RidgeReadout, SampledField, TimeCourseReadout, random_cells_net
from monai_cpic.networks.readouts.kernel_ridge import PENALTIES, SHARES
from monai_cpic.tensor_train import TensorTrain
from monai_cpic.testing import ReadoutTestCase

LEVELS = (0.2, 0.5, 0.8)
PATIENTS, VISITS = 60, 4


class TestTimeCourse(ReadoutTestCase):
    def readout(self) -> TimeCourseReadout:
        return TimeCourseReadout(LEVELS, self.covariates, RidgeReadout(1, 0, self.n_dims, self.mode_sizes))


def fields(number: int = PATIENTS, size: int = 12) -> SampledField:
    generator = torch.Generator().manual_seed(0)
    return sampled(TensorTrain([torch.randn(number, 1, size, 1, generator=generator).double()]))


def visits(known: SampledField, informative: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Targets, covariates (time and age) and rows of patients whose change is time times a rate of scan and age."""
    generator = torch.Generator().manual_seed(1)
    rows = torch.arange(PATIENTS).repeat_interleave(VISITS)
    time = torch.rand(len(rows), generator=generator).double()
    age = torch.randn(PATIENTS, generator=generator).double()
    seen = known.scan.to_dense()[:, :3].sum(1) if informative else torch.randn(PATIENTS, generator=generator).double()
    rate = seen + 0.5 * age
    noise = 0.1 * torch.randn(len(rows), generator=generator).double()
    return torch.stack([time * rate[rows] + noise, rate[rows]], 1), torch.stack([time, age[rows]], 1), rows


def fit(informative: bool) -> tuple[TimeCourseReadout, SampledField, Tensor, Tensor, Tensor]:
    known = fields()
    target, covariates, rows = visits(known, informative)
    readout = TimeCourseReadout(LEVELS, 2, RidgeReadout(1, 0, 1, [12]))
    readout.fit(known, target, covariates, rows)
    return readout, known, target, covariates, rows


def explained(predicted: Tensor, target: Tensor) -> float:
    return 1 - ((predicted - target).square().mean() / target.var()).item()


def test_what_the_scan_says_is_added_to_the_covariates() -> None:
    readout, known, target, covariates, rows = fit(informative=True)
    predicted = readout(known, covariates, rows)
    assert predicted.shape == (PATIENTS * VISITS, 4)
    assert readout.share > 0 and explained(predicted[:, 1], target[:, 0]) > 0.8
    assert explained(predicted[:, 3], target[:, 1]) > 0.6  # the rate, of which the scan knows all but the age


def test_a_scan_that_says_nothing_leaves_the_model_of_the_table() -> None:
    readout, known, target, covariates, rows = fit(informative=False)
    time, age = covariates.T
    table = torch.stack([time, time * age, torch.ones_like(time)], 1)
    best = table @ torch.linalg.lstsq(table, target[:, 0]).solution
    error = (target[:, 0] - readout(known, covariates, rows)[:, 1]).square().mean()
    assert error < 1.05 * (target[:, 0] - best).square().mean()


def test_the_median_is_ridge_regression_on_products_with_the_time() -> None:
    readout, known, target, covariates, rows = fit(informative=True)
    assert any(math.isclose(float(readout.share), share) for share in SHARES)
    rates = readout._rates(known, target[::VISITS, 1:], torch.arange(len(known)))[rows]  # those of scans left out
    time = covariates[:, 0]
    raw = torch.stack([time, time * covariates[:, 1], time * rates], 1)
    scaled = raw / raw.std(0, correction=0)
    parts = []
    for part, share in ((scaled[:, [0, 2]], readout.share), (scaled[:, :2], 1 - readout.share)):
        unit = (part - part.mean(0)).square().sum(1).mean()
        parts.append(part * (share / unit).sqrt())
    features, change = torch.cat(parts, 1), target[:, 0]
    centred = features - features.mean(0)
    fits = []
    for penalty in PENALTIES:
        normal = centred.mT @ centred + penalty * torch.eye(centred.shape[1], dtype=centred.dtype)
        fits.append(centred @ torch.linalg.solve(normal, centred.mT @ (change - change.mean())) + change.mean())
    # the same line with the rates of the fit instead of those that the readout predicts now
    found = scaled @ readout.slope + readout.constant
    assert min((found - each).abs().max().item() for each in fits) < 1e-6


def test_quantiles_are_those_of_a_laplace_distribution() -> None:
    levels = (0.05, 0.2, 0.35, 0.5, 0.8, 0.9)
    expected = laplace.ppf(levels) / (laplace.ppf(0.8) - laplace.ppf(0.2))
    np.testing.assert_allclose(TimeCourseReadout(levels, 1, RidgeReadout(1, 0, 1, [4])).distances, expected, atol=1e-12)


def test_the_width_has_the_largest_likelihood_and_grows_with_the_time() -> None:
    from monai_cpic.networks.readouts.time_course import _spread

    random = np.random.default_rng(0)
    time = random.uniform(0, 3, 4000)
    errors = random.laplace(0, 1, 4000) * np.hypot(0.5, 0.8 * time) / math.sqrt(2)
    np.testing.assert_allclose(_spread(time, errors), (0.5, 0.8), rtol=0.1)
    visit, course = _spread(np.array([0.5, 1.0, 1.5]), np.zeros(3))
    assert math.isfinite(visit) and math.isfinite(course)


def test_a_network_predicts_from_it_and_an_optimizer_leaves_it_alone() -> None:
    net, copy = (random_cells_net((8, 8, 8), out_channels=4, covariates=1, n_dims=4) for _ in range(2))
    for each in (net, copy):
        each.readout = TimeCourseReadout(LEVELS, 1, RidgeReadout(1, 0, 4, each.bottleneck.decomposition.scan_sizes))
    volumes = [open_volume(volume) for volume in torch.rand(6, 1, 8, 8, 8)]
    covariates, target = torch.rand(6, 1), torch.rand(6, 2)
    net(volumes, covariates).square().sum().backward()
    net.eval()
    assert net.readout is not None and not list(net.readout.parameters())
    with torch.no_grad():
        net.readout.fit(net.bottleneck(volumes), target, covariates)
        expected = net.readout(net.bottleneck(volumes), covariates).float()
        torch.testing.assert_close(net(volumes, covariates), expected)
        copy.load_state_dict(net.state_dict())
        torch.testing.assert_close(copy.eval()(volumes, covariates), expected)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="the first is the time"):
        TimeCourseReadout(LEVELS, 0, RidgeReadout(1, 0, 1, [12]))
    for levels in ((0.5, 0.2), (0.0, 0.5), ()):
        with pytest.raises(ValueError, match="quantiles increase"):
            TimeCourseReadout(levels, 1, RidgeReadout(1, 0, 1, [12]))
    readout = TimeCourseReadout(LEVELS, 2, RidgeReadout(1, 0, 1, [12]))
    with pytest.raises(ValueError, match="got 3"):
        readout(fields(4), torch.rand(4, 3))


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("what", ["target", "covariates", "scan"])
def test_numbers_that_are_not_finite_are_refused(what: str, value: float) -> None:
    known = fields()
    target, covariates, rows = visits(known, True)
    {"target": target, "covariates": covariates, "scan": known.scan.cores[0][:, 0]}[what][5, 0] = value
    name = {"target": "1 of 240 rows have no finite target", "covariates": "no finite covariates", "scan": "no finite scan"}[what]
    with pytest.raises(ValueError, match=name):
        TimeCourseReadout(LEVELS, 2, RidgeReadout(1, 0, 1, [12])).fit(known, target, covariates, rows)
