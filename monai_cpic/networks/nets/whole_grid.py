"""Networks that see every voxel: rivals of those that sample."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from monai_cpic.data import Volume
from monai_cpic.devices import move
from monai_cpic.networks.grid import check_volume, finite_patches
from monai_cpic.networks.nets.volume_regressor import VolumeRegressor
from monai_cpic.networks.readouts import TwoBranchHead

__all__ = ["WholeGridRegressor"]


class WholeGridRegressor(VolumeRegressor):
    """Any torch module on the whole grid, with the head and the interface of :class:`~monai_cpic.networks.CPICNet`.

    Volumes are read whole, and smaller ones are padded to the grid by repeating their border, as in that network.

    Args:
        backbone: from dense volumes ``[B, in_channels, *spatial_shape]`` to features ``[B, features]``.
        features: number of its features.
        spatial_shape: the grid, ``D`` sizes; volumes may be smaller (padding), not larger.
        in_channels: channels of the volumes.
        out_channels: number of outputs.
        covariates: number of covariates of each row.
    """

    name = "whole grid"

    def __init__(
        self,
        backbone: nn.Module,
        features: int,
        spatial_shape: Sequence[int],
        in_channels: int = 1,
        out_channels: int = 1,
        covariates: int = 0,
    ) -> None:
        super().__init__()
        self.spatial_shape = tuple(spatial_shape)
        self.in_channels = in_channels
        self.backbone = backbone
        self.head = TwoBranchHead(features, covariates, out_channels)

    @property
    def feature_layer(self) -> nn.Module:
        return self.backbone

    def features(self, volumes: Sequence[Volume]) -> Tensor:
        parameter = next(self.backbone.parameters())
        features: Tensor = self.backbone(torch.cat([move(self._dense(volume), parameter) for volume in volumes]).to(parameter))
        return features

    def _dense(self, volume: Volume) -> Tensor:
        """The whole grid as one patch, ``[1, C, *spatial_shape]``."""
        check_volume(volume, self.in_channels, self.spatial_shape)
        centre = torch.tensor([[size // 2 for size in self.spatial_shape]], device="cpu")
        return finite_patches(volume, centre, self.spatial_shape)
