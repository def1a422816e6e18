"""Torch modules on tensor trains and lazy volumes."""

from monai_cpic.networks.bottleneck import TTBottleneck
from monai_cpic.networks.decompositions import (
    TTSVD,
    CrossApproximation,
    Decomposition,
    IndexStore,
    RandomCells,
    ScanCross,
    TensorizedDecomposition,
)
from monai_cpic.networks.encoders import Encoder, PatchEncoder, PooledEncoder, PositionedEncoder, VoxelEncoder
from monai_cpic.networks.latent_field import LatentField
from monai_cpic.networks.nets import CovariatesOnlyNet, CPICNet, ResNetRegressor, VolumeRegressor, paper_net, random_cells_net
from monai_cpic.networks.projections import ChannelMeans, ConvexSolver, Projection, TTProjection
from monai_cpic.networks.readouts import Readout, RidgeReadout, StackedReadout, TwoBranchHead

__all__ = [
    "CPICNet",
    "ChannelMeans",
    "ConvexSolver",
    "CovariatesOnlyNet",
    "CrossApproximation",
    "Decomposition",
    "Encoder",
    "IndexStore",
    "LatentField",
    "PatchEncoder",
    "PooledEncoder",
    "PositionedEncoder",
    "Projection",
    "RandomCells",
    "Readout",
    "ResNetRegressor",
    "RidgeReadout",
    "ScanCross",
    "StackedReadout",
    "TTBottleneck",
    "TTProjection",
    "TTSVD",
    "TensorizedDecomposition",
    "TwoBranchHead",
    "VolumeRegressor",
    "VoxelEncoder",
    "paper_net",
    "random_cells_net",
]
