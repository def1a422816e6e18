"""Ridge regression on inner products of tensor trains, against its closed form on the dense entries."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from monai_cpic.data import open_volume
from monai_cpic.networks import CPICNet, RidgeReadout, paper_net, random_cells_net
from monai_cpic.tensor_train import TensorTrain

SHAPES = {"one mode": ((1, 12, 1),), "three modes": ((1, 4, 2), (2, 5, 3), (3, 3, 1))}


def trains(count: int, kind: str) -> TensorTrain:
    return TensorTrain([torch.randn(count, *core, dtype=torch.float64) for core in SHAPES[kind]])


def ridge(features: Tensor, target: Tensor, penalty: float) -> tuple[Tensor, Tensor]:
    """Weights and constant of a ridge regression that does not penalise the constant."""
    centred = features - features.mean(0)
    normal = centred.mT @ centred + penalty * torch.eye(features.shape[1], dtype=features.dtype)
    weights = torch.linalg.solve(normal, centred.mT @ (target - target.mean(0)))
    return weights, target.mean(0) - features.mean(0) @ weights


def dense_features(known: TensorTrain, covariates: Tensor | None, share: Tensor) -> Tensor:
    """Entries and covariates, scaled as the kernel weighs them."""
    parts = [(known.to_dense().flatten(1), share)] + ([] if covariates is None else [(covariates, 1 - share)])
    units = [(part - part.mean(0)).square().sum(1).mean() for part, _ in parts]
    return torch.cat([part * (weight / unit).sqrt() for (part, weight), unit in zip(parts, units, strict=True)], 1)


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("covariates", [0, 2])
def test_it_is_ridge_regression_on_the_entries(kind: str, covariates: int) -> None:
    known, target = trains(14, kind), torch.randn(14, 2, dtype=torch.float64)
    others = torch.randn(14, covariates, dtype=torch.float64) if covariates else None
    readout = RidgeReadout(2, covariates, known.shape, rank=50)
    readout.fit(known, target, others)
    features = dense_features(known, others, readout.share)
    weights, constant = ridge(features, target, float(readout.penalty))
    torch.testing.assert_close(readout(known, others), features @ weights + constant, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("copies", [1, 2])
def test_penalty_is_that_of_the_smallest_error_without_a_patient(copies: int) -> None:
    known, patients = trains(11 * copies, "one mode"), torch.arange(11 * copies) % 11
    target = known.inner(trains(1, "one mode")) + torch.randn(11 * copies, 1, dtype=torch.float64)
    readout = RidgeReadout(1, 0, known.shape)
    readout.fit(known, target, patients=patients)
    unit = dense_features(known, None, torch.tensor(1.0))

    def left_out(penalty: float) -> float:
        errors = []
        for one in range(11):
            rest = patients != one
            weights, constant = ridge(unit[rest], target[rest], penalty)
            errors.append((unit[~rest] @ weights + constant - target[~rest]).square().sum())
        return torch.stack(errors).sum().item()

    assert 1e-4 < readout.penalty < 1e2, "the smallest error lies within the range that is searched"
    chosen = left_out(float(readout.penalty))
    assert all(chosen <= left_out(float(readout.penalty) * factor) + 1e-9 for factor in (10**-0.25, 10**0.25))


def test_rows_share_scans_and_scans_that_do_not_help_have_no_share() -> None:
    covariates = torch.randn(60, 1, dtype=torch.float64)
    rows = torch.arange(60) % 20
    readout = RidgeReadout(1, 1, [12])
    known = trains(20, "one mode")
    readout.fit(known, 3 * covariates + 1, covariates, rows)
    assert readout.share == 0
    torch.testing.assert_close(readout(known, covariates, rows), 3 * covariates + 1, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_scans_that_are_all_the_same_give_the_mean(value: float) -> None:
    known, target = TensorTrain([torch.full((5, 1, 12, 1), value).double()]), torch.rand(5, 1).double()
    readout = RidgeReadout(1, 0, [12])
    readout.fit(known, target)
    torch.testing.assert_close(readout(known), target.mean(0).expand(5, 1))


def test_fewer_than_three_patients_are_refused() -> None:
    with pytest.raises(ValueError, match="three patients or more, got 2"):
        RidgeReadout(1, 0, [12]).fit(trains(2, "one mode"), torch.rand(6, 1), rows=torch.arange(6) % 2)


@pytest.mark.parametrize("preset", [random_cells_net, paper_net])
def test_a_network_predicts_from_it_once_it_is_fitted_and_from_its_checkpoint(preset: Callable[..., CPICNet]) -> None:
    net, copy = (preset((8, 8, 8), covariates=1, n_dims=4) for _ in range(2))
    for each in (net, copy):
        each.readout = RidgeReadout(1, 1, each.bottleneck.decomposition.mode_sizes)
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
