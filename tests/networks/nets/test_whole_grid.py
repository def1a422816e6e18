"""Networks that see every voxel, against MONAI's own."""

from __future__ import annotations

import pytest
import torch
from gradients import gradient
from monai.networks.nets import DenseNet121
from torch import nn

from monai_cpic.networks import DenseNetRegressor, WholeGridRegressor

SHAPE = (32, 48, 32)


def test_densenet_is_that_of_monai_with_the_head_in_place_of_its_last_layer() -> None:
    module = DenseNetRegressor(SHAPE, in_channels=2).eval()
    whole = DenseNet121(3, 2, 5).eval()
    missing = whole.load_state_dict(module.backbone.state_dict(), strict=False).missing_keys
    assert missing == ["class_layers.out.weight", "class_layers.out.bias"]
    x = torch.rand(2, 2, *SHAPE)
    with torch.no_grad():
        torch.testing.assert_close(whole(x), whole.get_submodule("class_layers.out")(module.backbone(x)))
        torch.testing.assert_close(module(x), module.head(module.backbone(x), None))


def test_a_step_trains_the_whole_densenet() -> None:
    module = DenseNetRegressor(SHAPE, covariates=2)
    module(torch.rand(3, 1, *SHAPE), torch.rand(3, 2)).square().sum().backward()
    for name, parameter in module.named_parameters():
        assert gradient(parameter).isfinite().all() and gradient(parameter).abs().max() > 0, name


def test_a_grid_that_densenet_would_halve_to_nothing() -> None:
    with pytest.raises(ValueError, match=r"at least 32 voxels along each axis, got \(32, 16, 32\)"):
        DenseNetRegressor((32, 16, 32))


def test_any_module_is_a_backbone() -> None:
    module = WholeGridRegressor(nn.Sequential(nn.Conv3d(1, 6, 3), nn.AdaptiveAvgPool3d(1), nn.Flatten()), 6, (8, 8, 8))
    assert module(torch.rand(2, 1, 7, 8, 6)).shape == (2, 1)
