"""The stacked readout: its regression, honest predictions in training, and a head that uses them."""

from __future__ import annotations

import torch

from monai_cpic.data import open_volume
from monai_cpic.losses import QuantileRateLoss
from monai_cpic.networks import RidgeReadout, StackedReadout, random_cells_net
from monai_cpic.tensor_train import TensorTrain


def vectors(number: int, size: int = 12) -> TensorTrain:
    generator = torch.Generator().manual_seed(0)
    return TensorTrain([torch.randn(number, 1, size, 1, generator=generator).double()])


def dense(trains: TensorTrain) -> torch.Tensor:
    (core,) = trains
    return core[:, 0, :, 0]


def test_the_ridge_regression_gives_what_it_predicts_for_those_left_out() -> None:
    trains, target = vectors(20), torch.randn(20, 2).double()
    readout = RidgeReadout(2, 0, [12])
    left_out = readout.fit(trains, target)
    x = dense(trains)
    for k in (0, 7, 19):
        others = torch.arange(20) != k
        # centre and unit of the kernel are the whole cohort's, and the constant is not penalised
        centred = x - x.mean(0)
        unit = centred.square().sum(1).mean()
        known = torch.cat([centred / unit.sqrt(), torch.ones(20, 1).double()], 1)
        penalty = torch.eye(13).double() * readout.penalty
        penalty[12, 12] = 0
        weights = torch.linalg.solve(known[others].mT @ known[others] + penalty, known[others].mT @ target[others])
        torch.testing.assert_close(left_out[k], known[k] @ weights)


def test_what_the_scan_tells_reaches_every_row() -> None:
    trains, rows = vectors(60), torch.arange(60).repeat_interleave(4)
    weeks = torch.rand(240, 1, generator=torch.Generator().manual_seed(1))
    rate = dense(trains)[:, :3].sum(1).float()[rows]
    target = torch.stack([rate * weeks[:, 0], rate], 1)
    readout = StackedReadout(4, 1, [12], QuantileRateLoss())
    readout.fit(trains, target, weeks, rows)
    with torch.no_grad():
        predicted = readout(trains, weeks, rows)
    assert predicted.shape == (240, 4)
    for column, wanted in ((1, target[:, 0]), (3, target[:, 1])):
        assert 1 - (predicted[:, column] - wanted).square().mean() / wanted.var() > 0.7


def test_fitting_leaves_the_random_state_and_is_repeatable() -> None:
    trains, target = vectors(9), torch.rand(9, 2)
    first, second = StackedReadout(2, 0, [12]), StackedReadout(2, 0, [12])
    before = torch.get_rng_state()
    first.fit(trains, target)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    second.fit(trains, target)
    for name, value in first.state_dict().items():
        torch.testing.assert_close(second.state_dict()[name], value, rtol=0, atol=0)


def test_a_network_predicts_from_it_and_an_optimizer_leaves_it_alone() -> None:
    net, copy = (random_cells_net((8, 8, 8), out_channels=4, covariates=1, n_dims=4) for _ in range(2))
    for each in (net, copy):
        each.readout = StackedReadout(4, 1, each.bottleneck.decomposition.mode_sizes, QuantileRateLoss())
    volumes = [open_volume(volume) for volume in torch.rand(6, 1, 8, 8, 8)]
    covariates, target = torch.rand(6, 1), torch.rand(6, 2)
    QuantileRateLoss()(net(volumes, covariates), target).backward()
    assert net.readout is not None and all(parameter.grad is None for parameter in net.readout.parameters())
    net.eval()
    with torch.no_grad():
        net.readout.fit(net.bottleneck(volumes), target, covariates)
        expected = net.readout(net.bottleneck(volumes), covariates)
        torch.testing.assert_close(net(volumes, covariates), expected)
        copy.load_state_dict(net.state_dict())
        torch.testing.assert_close(copy.eval()(volumes, covariates), expected)
