"""A common choice of MONAI's users that sees every voxel."""

from __future__ import annotations

from collections.abc import Sequence

from monai.networks.nets import DenseNet121
from torch import nn

from monai_cpic.networks.nets.whole_grid import WholeGridRegressor

__all__ = ["DenseNetRegressor"]

FEATURES = 1024  # of DenseNet-121 before its last layer
SMALLEST = 32  # voxels along an edge, which the network halves five times


class DenseNetRegressor(WholeGridRegressor):
    """MONAI's DenseNet-121.

    Reference: G. Huang et al., "Densely Connected Convolutional Networks", CVPR 2017.

    Args:
        spatial_shape: the grid, ``D`` sizes of at least 32; volumes may be smaller (padding), not larger.
        in_channels: channels of the volumes.
        out_channels: number of outputs.
        covariates: number of covariates of each row.

    Raises:
        ValueError: if the grid is too small.
    """

    name = "DenseNet-121"

    def __init__(self, spatial_shape: Sequence[int], in_channels: int = 1, out_channels: int = 1, covariates: int = 0) -> None:
        if min(spatial_shape) < SMALLEST:
            raise ValueError(f"DenseNet-121 needs a grid of at least {SMALLEST} voxels along each axis, got {spatial_shape}.")
        densenet = DenseNet121(len(spatial_shape), in_channels, out_channels=1)
        densenet.class_layers.out = nn.Identity()
        super().__init__(densenet, FEATURES, spatial_shape, in_channels, out_channels, covariates)
