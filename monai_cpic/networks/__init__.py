"""Torch modules on tensor trains and lazy volumes."""

from monai_cpic.networks.bottleneck import TTBottleneck
from monai_cpic.networks.decompositions import IndexStore
from monai_cpic.networks.encoders import PatchEncoder, PooledEncoder, VoxelEncoder
from monai_cpic.networks.latent_field import LatentField
from monai_cpic.networks.nets import CovariatesOnlyNet, CPICNet, ResNetRegressor, VolumeRegressor
from monai_cpic.networks.projections import ChannelMeans, TTProjection
from monai_cpic.networks.readouts import RidgeReadout, StackedReadout, TwoBranchHead

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
