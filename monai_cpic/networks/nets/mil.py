"""Attention over random cubes: a rival that samples, too."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.nets import MILModel, ResNet
from torch import Tensor, nn

from monai_cpic.data import Volume
from monai_cpic.devices import move
from monai_cpic.networks.decompositions.random_cells import cell_counts, points_in_cells
from monai_cpic.networks.grid import check_volume, finite_patches
from monai_cpic.networks.nets.volume_regressor import VolumeRegressor
from monai_cpic.networks.readouts import TwoBranchHead

__all__ = ["MILRegressor"]

WIDTHS = (16, 32, 64, 128)  # of the four stages of the small ResNet that encodes a cube


class MILRegressor(VolumeRegressor):
    """Attention-based multiple instance learning on random cubes: MONAI's ``MILModel``, with a small ResNet as its backbone.

    A cube lies at a random place in each of some cells that divide the scan evenly; training steps have new places, predictions
    fixed ones.  Outputs are those of the head on the mean of the cubes' features, weighted by attention.

    Reference: M. Ilse, J. Tomczak, M. Welling, "Attention-based Deep Multiple Instance Learning", ICML 2018.

    Args:
        spatial_shape: the grid, ``D`` sizes; volumes may be smaller (padding), not larger.
        in_channels: channels of the volumes.
        out_channels: number of outputs.
        covariates: number of covariates of each row.
        cubes: at most so many of each scan, see :func:`~monai_cpic.networks.decompositions.random_cells.cell_counts`.
        edge: of the cubes, in voxels.

    Example:
        >>> net = MILRegressor(spatial_shape=(32, 32, 16), cubes=8, edge=16)
        >>> net(torch.rand(2, 1, 32, 32, 16)).shape
        torch.Size([2, 1])
    """

    name = "attention MIL"

    def __init__(
        self,
        spatial_shape: Sequence[int],
        in_channels: int = 1,
        out_channels: int = 1,
        covariates: int = 0,
        cubes: int = 64,
        edge: int = 24,
    ) -> None:
        super().__init__()
        self.spatial_shape = tuple(spatial_shape)
        self.in_channels = in_channels
        self.edge = edge
        self.cells = cell_counts(self.spatial_shape, cubes)
        dimensions = len(self.spatial_shape)
        resnet = ResNet("basic", [1] * 4, list(WIDTHS), dimensions, in_channels, conv1_t_size=3, feed_forward=False)
        self.bags = MILModel(out_channels, "att", pretrained=False, backbone=resnet, backbone_num_features=WIDTHS[-1])
        self.bags.add_module("myfc", nn.Identity())  # the head takes its place
        self.head = TwoBranchHead(WIDTHS[-1], covariates, out_channels)

    @property
    def feature_layer(self) -> nn.Module:
        return self.bags.myfc

    def features(self, volumes: Sequence[Volume]) -> Tensor:
        parameter = next(self.bags.parameters())
        cubes = torch.cat([move(self._cubes(volume), parameter) for volume in volumes]).to(parameter)
        # MILModel.forward takes flat pictures only
        features: Tensor = self.bags.calc_head(self.bags.net(cubes).unflatten(0, (len(volumes), -1)))
        return features

    def sampled_points(self, volume: Volume) -> Tensor:
        return self._points(volume, seed=0)

    def _points(self, volume: Volume, seed: int) -> Tensor:
        """Centres of the cubes, int64 ``[N, D]``."""
        return (points_in_cells(self.cells, seed) * torch.tensor(volume.shape[1:], device="cpu")).long()

    def _cubes(self, volume: Volume) -> Tensor:
        """The cubes ``[N, C, *edges]``."""
        check_volume(volume, self.in_channels, self.spatial_shape)
        seed = int(torch.randint(2**31, (), device="cpu")) if self.training else 0
        return finite_patches(volume, self._points(volume, seed), self.edge)
