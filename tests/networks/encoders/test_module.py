"""Modules of somebody else's as encoders."""

from __future__ import annotations

import re

import pytest
import torch
from monai.networks.nets import ResNet
from torch import Tensor, nn

from monai_cpic.data import open_volume
from monai_cpic.networks import CPICNet, Encoder, ModuleEncoder, PositionedEncoder, attribute
from monai_cpic.testing import EncoderTestCase


def resnet(in_channels: int = 1) -> ResNet:
    return ResNet("basic", [1, 1, 1, 1], [4, 4, 8, 8], n_input_channels=in_channels, feed_forward=False)


class TestModuleEncoder(EncoderTestCase):
    def encoder(self) -> Encoder:
        return ModuleEncoder(resnet(in_channels=4), in_channels=2, n_dims=8, receptive_field=9, steps=(1, 4))


class TestModuleEncoderOfEvenPatchesInThePlane(EncoderTestCase):
    spatial_dims = 2

    def encoder(self) -> Encoder:
        module = nn.Sequential(nn.Conv2d(1, 3, kernel_size=4, stride=4), nn.AdaptiveAvgPool2d(1), nn.Flatten(1))
        return PositionedEncoder(ModuleEncoder(module, 1, n_dims=3, receptive_field=8, spatial_dims=2), spatial_dims=2)


def test_a_network_trains_it_and_its_running_statistics() -> None:
    encoder = ModuleEncoder(resnet(), in_channels=1, n_dims=8, receptive_field=9)
    network = CPICNet((16, 16, 8), encoder=encoder)
    before = {name: value.clone() for name, value in encoder.named_buffers()}
    network(torch.rand(2, 1, 16, 16, 8)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())
    assert not any(torch.equal(value, before[name]) for name, value in encoder.named_buffers())


def test_it_is_not_asked_about_no_patches() -> None:
    network = CPICNet((16, 16, 8), encoder=ModuleEncoder(resnet(), in_channels=1, n_dims=8, receptive_field=9)).eval()
    for parameter in network.head.parameters():
        nn.init.zeros_(parameter)
    assert not len(attribute(network, open_volume(torch.rand(1, 16, 16, 8))).points)


class Map(nn.Module):
    """Features of each voxel."""

    def forward(self, patches: Tensor) -> Tensor:
        return patches.expand(-1, 7, -1, -1, -1)


@pytest.mark.parametrize(
    ("module", "in_channels", "n_dims", "said"),
    [
        (Map(), 1, 7, "Map makes (2, 7, 5, 5, 5) of patches (2, 1, 5, 5, 5), but an encoder of n_dims=7 must make (2, 7)"),
        (nn.Flatten(1), 2, 7, "Flatten makes (2, 250) of patches (2, 2, 5, 5, 5)"),
        (nn.MaxPool3d(3, return_indices=True), 1, 7, "MaxPool3d makes tuple of patches"),
        (
            nn.Conv3d(3, 7, 5),
            1,
            7,
            "Conv3d does not take patches [N, 1, 5, 5, 5], which is what in_channels=1, receptive_field=5",
        ),
    ],
)
def test_a_module_that_makes_something_else_is_refused(module: nn.Module, in_channels: int, n_dims: int, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        ModuleEncoder(module, in_channels, n_dims, receptive_field=5)
