"""A decomposition of one's own is one class: this file is all that adding it touches."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from gradients import gradient
from monai.bundle import ConfigParser

from monai_cpic.networks import CPICNet, Decomposition, LatentField, PatchEncoder, SampledField
from monai_cpic.tensor_train import TensorTrain
from monai_cpic.testing import DecompositionTestCase


class EveryOtherPoint(Decomposition):
    """The field at every second point of each axis, one mode for each axis and no compression."""

    def __init__(self, spatial_shape: Sequence[int], n_dims: int) -> None:
        super().__init__()
        self.spatial_shape, self.n_dims = tuple(spatial_shape), n_dims
        self.mode_sizes = self.scan_sizes = [math.prod(-(-size // 2) for size in spatial_shape), n_dims]
        self.ranks = [1, n_dims, 1]

    def forward(self, field: LatentField, step: int | None) -> SampledField:
        points = torch.cartesian_prod(*(torch.arange(0, size, 2) for size in self.spatial_shape))
        vectors = field.at(points.expand(len(field), -1, -1)).double()
        identity = torch.eye(self.n_dims, dtype=torch.float64)[None, :, :, None]
        trains = TensorTrain([vectors[:, None], identity.expand(len(field), -1, -1, -1)])
        return SampledField(trains, vectors.mean(1), vectors.amax(1), scan=trains)


class TestEveryOtherPoint(DecompositionTestCase):
    def decomposition(self) -> EveryOtherPoint:
        return EveryOtherPoint((8, 6, 4), n_dims=3)


def test_a_network_takes_it() -> None:
    net = CPICNet(encoder=PatchEncoder(n_dims=3), decomposition=EveryOtherPoint((8, 8, 8), n_dims=3))
    net(torch.rand(4, 1, 8, 8, 8)).square().sum().backward()
    assert all(gradient(parameter).isfinite().all() for parameter in net.parameters())


def test_a_bundle_names_it_by_its_target() -> None:
    config = {
        "network_def": {
            "_target_": "monai_cpic.networks.CPICNet",
            "encoder": {"_target_": "monai_cpic.networks.PatchEncoder", "n_dims": 3},
            "decomposition": {"_target_": f"{__name__}.EveryOtherPoint", "spatial_shape": [8, 8, 8], "n_dims": 3},
        }
    }
    net = ConfigParser(config).get_parsed_content("network_def")
    assert net(torch.rand(2, 1, 8, 8, 8)).shape == (2, 1)
