"""Ridge regression on kernels, against its closed form on the entries of scans, the means, the maxima and the covariates."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from fields import sampled
from torch import Tensor

from monai_cpic.data import open_volume
from monai_cpic.networks import CPICNet, RidgeReadout, SampledField, paper_net, random_cells_net
from monai_cpic.networks.readouts.score import with_common_mean
from monai_cpic.tensor_train import TensorTrain
from monai_cpic.testing import ReadoutTestCase

SHAPES = {"one mode": ((1, 12, 1),), "three modes": ((1, 4, 2), (2, 5, 3), (3, 3, 1))}


class TestRidge(ReadoutTestCase):
    def readout(self) -> RidgeReadout:
        return RidgeReadout(self.targets, self.covariates, self.n_dims, self.mode_sizes)


class TestRidgeOfASingleMode(ReadoutTestCase):
    mode_sizes = (12,)
    covariates = 0

    def readout(self) -> RidgeReadout:
        return RidgeReadout(self.targets, 0, self.n_dims, self.mode_sizes)


def scans(count: int, kind: str) -> TensorTrain:
    return TensorTrain([torch.randn(count, *core, dtype=torch.float64) for core in SHAPES[kind]])


def fields(count: int, kind: str) -> SampledField:
    means, maxima = torch.randn(2, count, 2, dtype=torch.float64) * torch.tensor([1.0, 9.0]) + 5
    return sampled(scans(count, kind), means, maxima)


def ridge(features: Tensor, target: Tensor, penalty: float) -> tuple[Tensor, Tensor]:
    """Weights and constant of a ridge regression that does not penalise the constant."""
    centred = features - features.mean(0)
    normal = centred.mT @ centred + penalty * torch.eye(features.shape[1], dtype=features.dtype)
    weights = torch.linalg.solve(normal, centred.mT @ (target - target.mean(0)))
    return weights, target.mean(0) - features.mean(0) @ weights


def raw_features(field: SampledField, covariates: Tensor | None) -> Tensor:
    """Entries of the scan, means, maxima and covariates."""
    parts = [field.scan.to_dense().flatten(1), field.means, field.maxima]
    return torch.cat(parts if covariates is None else [*parts, covariates], 1)


def dense_features(field: SampledField, covariates: Tensor | None, weights: Tensor) -> Tensor:
    """Entries of the scan, normalised means and maxima, and covariates, scaled as the kernels weigh them."""
    features = torch.cat([field.means, field.maxima], 1)
    spread = features.std(0, correction=0)
    parts = [field.scan.to_dense().flatten(1), features / spread.where(spread > 0, 1.0)]
    parts += [] if covariates is None else [covariates]
    scaled = []
    for part, weight in zip(parts, weights, strict=False):
        unit = (part - part.mean(0)).square().sum(1).mean()
        scaled.append(part * (weight / unit.where(unit > 0, 1.0)).sqrt())
    return torch.cat(scaled, 1)


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("covariates", [0, 2])
def test_it_is_ridge_regression_on_all_that_is_known(kind: str, covariates: int) -> None:
    known, new = fields(14, kind), fields(3, kind)
    others = torch.randn(17, covariates, dtype=torch.float64) if covariates else None
    told = [known.scan.to_dense().flatten(1)[:, 0], known.means[:, 0], known.maxima[:, 1] / 9]
    told += [] if others is None else [2 * others[:14, 1]]
    target = torch.stack(told, 1).sum(1, keepdim=True) + 0.1 * torch.randn(14, 2, dtype=torch.float64)
    readout = RidgeReadout(2, covariates, 2, known.scan.shape, rank=50)
    readout.fit(known, target, None if others is None else others[:14])
    assert (readout.weights[: 3 if covariates else 2] > 0).all(), "every kernel takes part in the comparison"
    torch.testing.assert_close(readout.weights.sum(), torch.tensor(1.0).double())
    seen, unseen = (None, None) if others is None else others.split([14, 3])
    features = dense_features(known, seen, readout.weights)
    weights, constant = ridge(features, target, float(readout.penalty))
    torch.testing.assert_close(readout(known, seen), features @ weights + constant, rtol=1e-6, atol=1e-8)
    scale = features.std(0) / raw_features(known, seen).std(0)
    expected = (raw_features(new, unseen) * scale) @ weights + constant
    torch.testing.assert_close(readout(new, unseen), expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("visits", [1, 2])
def test_penalty_and_weights_are_those_of_the_smallest_error_without_a_scan(visits: int) -> None:
    known, rows = fields(11, "one mode"), torch.arange(11 * visits) % 11
    signal = known.scan.inner(scans(1, "one mode")) + 2 * known.means[:, :1]
    target = signal[rows] + torch.randn(11 * visits, 1, dtype=torch.float64)
    readout = RidgeReadout(1, 0, 2, known.scan.shape)
    predicted = readout.fit(known, target, rows=rows)

    def left_out(penalty: float, weights: Tensor) -> Tensor:
        unit, predictions = dense_features(known, None, weights)[rows], torch.zeros_like(target)
        for one in range(11):
            rest = rows != one
            slopes, constant = ridge(unit[rest], target[rest], penalty)
            predictions[~rest] = unit[~rest] @ slopes + constant
        return predictions

    penalty, weights = float(readout.penalty), readout.weights
    torch.testing.assert_close(predicted, left_out(penalty, weights))
    assert 1e-4 < penalty < 1e2, "the smallest error lies within the range that is searched"
    error = (predicted - target).square().sum()
    others = [(penalty * factor, weights) for factor in (10**-0.25, 10**0.25)]
    others += [(penalty, torch.tensor([share, 1 - share, 0.0])) for share in (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)]
    assert all(error <= (left_out(*each) - target).square().sum() + 1e-9 for each in others)


def test_rows_share_scans_and_what_does_not_help_has_no_weight() -> None:
    covariates = torch.randn(60, 1, dtype=torch.float64)
    rows = torch.arange(60) % 20
    readout = RidgeReadout(1, 1, 2, [12])
    known = fields(20, "one mode")
    readout.fit(known, 3 * covariates + 1, covariates, rows)
    assert readout.weights.tolist() == [0, 0, 1]
    torch.testing.assert_close(readout(known, covariates, rows), 3 * covariates + 1, rtol=1e-3, atol=1e-3)
    assert "weights 0.00 of the scan, 0.00 of means and maxima, 1.00 of covariates" in readout.summary
    readout.fit(known, known.maxima[:, :1] - 2 * known.means[:, 1:])
    assert readout.weights.tolist() == [0, 1, 0]


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_scans_that_are_all_the_same_give_the_mean(value: float) -> None:
    known, target = sampled(TensorTrain([torch.full((5, 1, 12, 1), value).double()])), torch.rand(5, 1).double()
    readout = RidgeReadout(1, 0, 1, [12])
    readout.fit(known, target)
    torch.testing.assert_close(readout(known), target.mean(0).expand(5, 1))


def test_fewer_than_three_patients_are_refused() -> None:
    with pytest.raises(ValueError, match="3 patients or more, got 2"):
        RidgeReadout(1, 0, 2, [12]).fit(fields(2, "one mode"), torch.rand(6, 1), rows=torch.arange(6) % 2)


@pytest.mark.parametrize("preset", [random_cells_net, paper_net])
def test_a_network_predicts_from_it_once_it_is_fitted_and_from_its_checkpoint(preset: Callable[..., CPICNet]) -> None:
    net, copy = (preset((8, 8, 8), covariates=1, n_dims=4) for _ in range(2))
    for each in (net, copy):
        each.readout = RidgeReadout(1, 1, 4, each.bottleneck.decomposition.scan_sizes)
    volumes = [open_volume(volume) for volume in torch.rand(6, 1, 8, 8, 8)]
    net(volumes)
    net.eval()
    with torch.no_grad():
        head = net(volumes)
        assert net.readout is not None
        target, covariates = torch.rand(6, 1), torch.rand(6, 1)
        net.readout.fit(net.bottleneck(volumes), target, covariates)
        predicted = net(volumes, covariates)
        copy.load_state_dict(net.state_dict())
        torch.testing.assert_close(copy.eval()(volumes, covariates), predicted)
    assert not torch.allclose(predicted, head)
    assert not torch.allclose(net.train()(volumes, covariates), predicted)


def test_what_cannot_be_fitted_is_named() -> None:
    known, target = fields(4, "one mode"), torch.rand(4, 1)
    with pytest.raises(ValueError, match="takes 1 covariates, got 3"):
        RidgeReadout(1, 1, 2, [12]).fit(known, target, torch.rand(4, 3))
    target[2] = torch.nan
    with pytest.raises(ValueError, match="1 of 4 rows have no finite target"):
        RidgeReadout(1, 0, 2, [12]).fit(known, target)


def test_scans_of_a_patient_are_left_out_together() -> None:
    """Two scans of a patient are as two rows of one scan."""
    field, target = fields(7, "one mode"), torch.randn(7, 1).double()
    twice, patients = torch.arange(14) // 2, torch.arange(14) // 2
    one, other = (RidgeReadout(1, 0, 2, [12]) for _ in range(2))
    expected = one.fit(field, target[twice] + 0.1 * torch.arange(14.0)[:, None], rows=twice)
    found = other.fit(field[twice], target[twice] + 0.1 * torch.arange(14.0)[:, None], patients=patients)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(one(field), other(field))


def test_a_channel_that_hardly_varies_is_not_scaled_up() -> None:
    field = fields(8, "one mode")
    field.maxima[:, 0] = 1 + 1e-7 * torch.randn(8)
    readout = RidgeReadout(1, 0, 2, [12])
    readout.fit(field, torch.randn(8, 1).double())
    assert readout.scale[2] == 1 and (readout.scale[[0, 1, 3]] != 1).all()


def test_the_mean_of_all_rows_in_predictions_for_others() -> None:
    response, groups = torch.randn(9, 2).double(), torch.tensor([0, 0, 1, 2, 2, 2, 3, 4, 4])
    means = torch.stack([response[groups != group].mean(0) for group in groups])
    torch.testing.assert_close(with_common_mean(means, response, groups), response.mean(0).expand(9, 2))
