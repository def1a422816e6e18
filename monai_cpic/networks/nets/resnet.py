"""The baseline that sees every voxel."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.nets import resnet34
from torch import Tensor, nn

from monai_cpic.data import Volume
from monai_cpic.devices import move
from monai_cpic.networks.grid import check_volume, finite_patches
from monai_cpic.networks.nets.volume_regressor import VolumeRegressor
from monai_cpic.networks.readouts import TwoBranchHead

__all__ = ["ResNetRegressor"]

FEATURES = 512  # outputs of ResNet-34 without its last layer


class ResNetRegressor(VolumeRegressor):
    """MONAI's ResNet-34 with the head and the interface of :class:`~monai_cpic.networks.CPICNet` (paper, section 4.1).

    Volumes are read whole, and smaller ones are padded to the grid by repeating their border, as in that network.

    Args:
        spatial_shape: the grid, ``D`` sizes; volumes may be smaller (padding), not larger.
        in_channels: channels of the volumes.
        out_channels: number of outputs.
        covariates: number of covariates of each row.

    Example:
        >>> net = ResNetRegressor(spatial_shape=(16, 16, 8))
        >>> net(torch.rand(2, 1, 16, 16, 8)).shape
        torch.Size([2, 1])
    """

    name = "ResNet-34"

    def __init__(self, spatial_shape: Sequence[int], in_channels: int = 1, out_channels: int = 1, covariates: int = 0) -> None:
        super().__init__()
        self.spatial_shape = tuple(spatial_shape)
        self.in_channels = in_channels
        self.resnet = resnet34(
            spatial_dims=len(self.spatial_shape),
            n_input_channels=in_channels,
            feed_forward=False,
            shortcut_type="A",
            bias_downsample=True,
        )
        self.head = TwoBranchHead(FEATURES, covariates, out_channels)

    @property
    def feature_layer(self) -> nn.Module:
        return self.resnet

    def features(self, volumes: Sequence[Volume]) -> Tensor:
        parameter = next(self.resnet.parameters())
        return self.resnet(torch.cat([move(self._dense(volume), parameter) for volume in volumes]).to(parameter))

    def _dense(self, volume: Volume) -> Tensor:
        """The whole grid as one patch, ``[1, C, *spatial_shape]``."""
        check_volume(volume, self.in_channels, self.spatial_shape)
        centre = torch.tensor([[size // 2 for size in self.spatial_shape]], device="cpu")
        return finite_patches(volume, centre, self.spatial_shape)
