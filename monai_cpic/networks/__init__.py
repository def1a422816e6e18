"""Torch modules on tensor trains and lazy volumes."""

from monai_cpic.networks.blocks import (
    IndexStore,
    LatentField,
    PatchEncoder,
    TTBottleneck,
    TTProjection,
    TwoBranchHead,
    VoxelEncoder,
)
from monai_cpic.networks.nets import CovariatesOnlyNet, CPICNet, ResNetRegressor, VolumeRegressor

__all__ = [
    "CPICNet",
    "CovariatesOnlyNet",
    "IndexStore",
    "LatentField",
    "PatchEncoder",
    "ResNetRegressor",
    "TTBottleneck",
    "TTProjection",
    "TwoBranchHead",
    "VolumeRegressor",
    "VoxelEncoder",
]
