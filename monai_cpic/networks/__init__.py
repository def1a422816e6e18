"""Torch modules on tensor trains and lazy volumes."""

from monai_cpic.networks.blocks import (
    ChannelMeans,
    IndexStore,
    LatentField,
    PatchEncoder,
    PooledEncoder,
    RidgeReadout,
    StackedReadout,
    TTBottleneck,
    TTProjection,
    TwoBranchHead,
    VoxelEncoder,
)
from monai_cpic.networks.nets import CovariatesOnlyNet, CPICNet, ResNetRegressor, VolumeRegressor

__all__ = [
    "CPICNet",
    "ChannelMeans",
    "CovariatesOnlyNet",
    "IndexStore",
    "LatentField",
    "PatchEncoder",
    "PooledEncoder",
    "ResNetRegressor",
    "RidgeReadout",
    "StackedReadout",
    "TTBottleneck",
    "TTProjection",
    "TwoBranchHead",
    "VolumeRegressor",
    "VoxelEncoder",
]
