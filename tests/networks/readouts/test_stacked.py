"""The stacked readout: a head that uses what a regression predicts."""

from __future__ import annotations

import torch
from fields import sampled

from monai_cpic.data import open_volume
from monai_cpic.losses import QuantileRateLoss
from monai_cpic.networks import SampledField, StackedReadout, random_cells_net
from monai_cpic.tensor_train import TensorTrain
from monai_cpic.testing import ReadoutTestCase


class TestStacked(ReadoutTestCase):
    def readout(self) -> StackedReadout:
        return StackedReadout(self.targets, self.covariates, self.n_dims, self.mode_sizes)


def fields(number: int, size: int = 12) -> SampledField:
    generator = torch.Generator().manual_seed(0)
    return sampled(TensorTrain([torch.randn(number, 1, size, 1, generator=generator).double()]))


def test_what_the_scan_tells_reaches_every_row() -> None:
    known, rows = fields(60), torch.arange(60).repeat_interleave(4)
    weeks = torch.rand(240, 1, generator=torch.Generator().manual_seed(1))
    rate = known.scan.to_dense()[:, :3].sum(1).float()[rows]
    target = torch.stack([rate * weeks[:, 0], rate], 1)
    readout = StackedReadout(4, 1, 1, [12], QuantileRateLoss())
    readout.fit(known, target, weeks, rows)
    with torch.no_grad():
        predicted = readout(known, weeks, rows)
    assert predicted.shape == (240, 4)
    for column, wanted in ((1, target[:, 0]), (3, target[:, 1])):
        assert 1 - (predicted[:, column] - wanted).square().mean() / wanted.var() > 0.7


def test_fitting_leaves_the_random_state_and_is_repeatable() -> None:
    known, target = fields(9), torch.rand(9, 2)
    first, second = StackedReadout(2, 0, 1, [12]), StackedReadout(2, 0, 1, [12])
    before = torch.get_rng_state()
    first.fit(known, target)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    second.fit(known, target)
    for name, value in first.state_dict().items():
        torch.testing.assert_close(second.state_dict()[name], value, rtol=0, atol=0)


def test_a_network_predicts_from_it_and_an_optimizer_leaves_it_alone() -> None:
    net, copy = (random_cells_net((8, 8, 8), out_channels=4, covariates=1, n_dims=4) for _ in range(2))
    for each in (net, copy):
        each.readout = StackedReadout(4, 1, 4, each.bottleneck.decomposition.scan_sizes, QuantileRateLoss())
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
