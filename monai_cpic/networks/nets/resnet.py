"""The paper's baseline that sees every voxel."""

from __future__ import annotations

from collections.abc import Sequence

from monai.networks.nets import resnet34

from monai_cpic.networks.nets.whole_grid import WholeGridRegressor

__all__ = ["ResNetRegressor"]

FEATURES = 512  # outputs of ResNet-34 without its last layer


class ResNetRegressor(WholeGridRegressor):
    """MONAI's ResNet-34 (paper, section 4.1).

    Args:
        spatial_shape: the grid, ``D`` sizes; volumes may be smaller (padding), not larger.
        in_channels: channels of the volumes.
        out_channels: number of outputs.
        covariates: number of covariates of each row.

    Example:
        >>> import torch
        >>> net = ResNetRegressor(spatial_shape=(16, 16, 8))
        >>> net(torch.rand(2, 1, 16, 16, 8)).shape
        torch.Size([2, 1])
    """

    name = "ResNet-34"

    def __init__(self, spatial_shape: Sequence[int], in_channels: int = 1, out_channels: int = 1, covariates: int = 0) -> None:
        resnet = resnet34(
            spatial_dims=len(spatial_shape),
            n_input_channels=in_channels,
            feed_forward=False,
            shortcut_type="A",
            bias_downsample=True,
        )
        super().__init__(resnet, FEATURES, spatial_shape, in_channels, out_channels, covariates)
