"""Ridge regression on kernels, against its closed form on the entries of scans, the means, the maxima and the covariates."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from averaged_ridge import Averaged, few_candidates
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


def parts_of(known: SampledField, of: SampledField, covariates: Tensor | None) -> list[Tensor]:
    """Entries of the scan, means and maxima as they are normalised in the fit to the known fields, and covariates."""
    features = torch.cat([known.means, known.maxima], 1)
    spread, found = features.std(0, correction=0), torch.cat([of.means, of.maxima], 1)
    others = torch.zeros(len(found), 0).double() if covariates is None else covariates
    return [of.scan.to_dense().flatten(1), found / spread.where(spread > 0, 1.0), others]


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("covariates", [0, 2])
def test_it_is_the_mean_of_ridge_regressions_on_all_that_is_known(
    kind: str, covariates: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    few_candidates(monkeypatch)
    known, new = fields(14, kind), fields(3, kind)
    others = torch.randn(17, covariates, dtype=torch.float64) if covariates else None
    told = [known.scan.to_dense().flatten(1)[:, 0], known.means[:, 0], known.maxima[:, 1] / 9]
    told += [] if others is None else [2 * others[:14, 1]]
    target = torch.stack(told, 1).sum(1, keepdim=True) + 0.1 * torch.randn(14, 2, dtype=torch.float64)
    seen, unseen = (None, None) if others is None else others.split([14, 3])
    readout = RidgeReadout(2, covariates, 2, known.scan.shape, rank=50)
    left_out = readout.fit(known, target, seen)
    expected = Averaged(parts_of(known, known, seen), target, torch.arange(14))
    torch.testing.assert_close(left_out, expected.left_out, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(readout(new, unseen), expected.predict(parts_of(known, new, unseen)), rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(readout.weights, expected.weights)
    torch.testing.assert_close(readout.penalty, expected.penalty)


def test_rows_of_a_scan_are_left_out_together(monkeypatch: pytest.MonkeyPatch) -> None:
    few_candidates(monkeypatch)
    known, rows = fields(11, "one mode"), torch.arange(22) % 11
    signal = known.scan.inner(scans(1, "one mode")) + 2 * known.means[:, :1]
    target = signal[rows] + torch.randn(22, 1, dtype=torch.float64)
    left_out = RidgeReadout(1, 0, 2, known.scan.shape).fit(known, target, rows=rows)
    parts = [part[rows] for part in parts_of(known, known, None)]
    torch.testing.assert_close(left_out, Averaged(parts, target, rows).left_out, rtol=1e-6, atol=1e-8)


def test_rows_share_scans_and_what_does_not_help_has_hardly_any_weight() -> None:
    covariates = torch.randn(60, 1, dtype=torch.float64)
    rows = torch.arange(60) % 20
    readout = RidgeReadout(1, 1, 2, [12])
    known = fields(20, "one mode")
    readout.fit(known, 3 * covariates + 1, covariates, rows)
    assert readout.weights[2] > 0.9
    torch.testing.assert_close(readout(known, covariates, rows), 3 * covariates + 1, rtol=1e-2, atol=1e-2)
    assert f"of means and maxima, {readout.weights[2]:.2f} of covariates" in readout.summary
    readout.fit(known, known.maxima[:, :1] - 2 * known.means[:, 1:])
    assert readout.weights[1] > 0.9


@pytest.mark.parametrize("value", [0.0, 1.0, 0.1, -1.23])
@pytest.mark.parametrize("count", [5, 23, 97])
def test_scans_that_are_all_the_same_give_the_mean(value: float, count: int) -> None:
    known, target = sampled(TensorTrain([torch.full((count, 1, 12, 1), value).double()])), torch.rand(count, 1).double()
    readout = RidgeReadout(1, 0, 1, [12])
    readout.fit(known, target)
    torch.testing.assert_close(readout(known), target.mean(0).expand(count, 1))


@pytest.mark.parametrize("count", [70, 86, 94, 103, 118])
def test_a_constant_covariate_has_no_weight(count: int) -> None:
    known, target = fields(count, "one mode"), torch.rand(count, 1).double()
    predicted = []
    for constant, other in ((0.0, 0.0), (0.1, 5.0)):
        readout = RidgeReadout(1, 1, 2, [12])
        readout.fit(known, target, torch.full((count, 1), constant).double())
        predicted.append(readout(known, torch.full((count, 1), other).double()))
    torch.testing.assert_close(predicted[1], predicted[0])


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
