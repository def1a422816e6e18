"""Attention over random cubes, against MONAI's MILModel."""

from __future__ import annotations

import pytest
import torch
from gradients import gradient
from torch import nn

from monai_cpic.data import open_volume
from monai_cpic.networks import MILRegressor

SHAPE = (20, 16, 12)


def net(cubes: int = 8) -> MILRegressor:
    torch.manual_seed(0)
    return MILRegressor(SHAPE, in_channels=2, out_channels=3, covariates=1, cubes=cubes, edge=9)


def test_it_is_monais_model_with_the_head_in_place_of_its_last_layer() -> None:
    module, scans = net().eval(), torch.rand(4, 2, *SHAPE)
    cubes = torch.stack([volume.gather(module.sampled_points(volume), 9) for volume in map(open_volume, scans)])
    with torch.no_grad():
        features = module.features([open_volume(scan) for scan in scans])
        vectors = module.bags.net(cubes.flatten(0, 1)).unflatten(0, (4, 8))
        shares = module.bags.attention(vectors).softmax(1)
        torch.testing.assert_close(features, (shares * vectors).sum(1))
        covariates = torch.rand(4, 1)
        torch.testing.assert_close(module(scans, covariates), module.head(features, covariates))


def test_predictions_have_fixed_cubes_and_training_steps_new_ones() -> None:
    module, scan = net(), open_volume(torch.rand(2, 11, 16, 9))
    with torch.no_grad():
        module.train()
        assert not torch.equal(module.features([scan, scan]), module.features([scan, scan]))
        module.eval()
        torch.testing.assert_close(module.features([scan, scan])[:1], module.features([scan]))
    points = module.sampled_points(scan)
    assert len(points.unique(dim=0)) == 8, "one in each cell"
    assert bool(((points >= 0) & (points < torch.tensor(scan.shape[1:]))).all())


def test_a_step_trains_everything() -> None:
    module = net()
    module(torch.rand(3, 2, *SHAPE), torch.rand(3, 1)).square().sum().backward()
    for name, parameter in module.named_parameters():
        assert gradient(parameter).isfinite().all(), name
    trained = [name for name, parameter in module.named_parameters() if gradient(parameter).abs().max() > 0]
    without = {name for name, _ in module.named_parameters()} - set(trained)
    assert without <= {"bags.attention.2.bias"}, "which adds the same to all cubes"
    assert isinstance(module.feature_layer, nn.Identity)


def test_scans_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="larger than the grid"):
        net()(torch.rand(1, 2, 40, 16, 12), torch.rand(1, 1))
