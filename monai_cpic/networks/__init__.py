"""Torch modules on tensor trains and lazy volumes."""

from monai_cpic.networks.attribution import Attribution, attribute
from monai_cpic.networks.bottleneck import TTBottleneck
from monai_cpic.networks.coarse_scan import coarse_scan, coarse_size
from monai_cpic.networks.decompositions import (
    TTSVD,
    CrossApproximation,
    Curriculum,
    Decomposition,
    IndexStore,
    RandomCells,
    ScanCross,
    TensorizedDecomposition,
)
from monai_cpic.networks.encoders import Encoder, PatchEncoder, PooledEncoder, PositionedEncoder, VoxelEncoder
from monai_cpic.networks.families import ClassFamily, Family, HazardFamily, QuantileFamily
from monai_cpic.networks.latent_field import LatentField
from monai_cpic.networks.nets import (
    CovariatesOnlyNet,
    CPICNet,
    DenseNetRegressor,
    Ensemble,
    ResNetRegressor,
    VolumeRegressor,
    WholeGridRegressor,
    paper_net,
    random_cells_net,
)
from monai_cpic.networks.projections import (
    ChannelMaxima,
    ChannelMeans,
    ConvexSolver,
    JoinedProjection,
    NormalisedProjection,
    OctantMeans,
    Projection,
    TTProjection,
)
from monai_cpic.networks.readouts import (
    CoarseReadout,
    FamilyReadout,
    Readout,
    RidgeReadout,
    ScoreReadout,
    StackedReadout,
    TimeCourseReadout,
    TwoBranchHead,
)
from monai_cpic.networks.sampled_field import SampledField

__all__ = [
    "Attribution",
    "CPICNet",
    "ChannelMaxima",
    "ChannelMeans",
    "ClassFamily",
    "CoarseReadout",
    "ConvexSolver",
    "CovariatesOnlyNet",
    "CrossApproximation",
    "Curriculum",
    "Decomposition",
    "DenseNetRegressor",
    "Encoder",
    "Ensemble",
    "Family",
    "FamilyReadout",
    "HazardFamily",
    "IndexStore",
    "JoinedProjection",
    "LatentField",
    "NormalisedProjection",
    "OctantMeans",
    "PatchEncoder",
    "PooledEncoder",
    "PositionedEncoder",
    "Projection",
    "QuantileFamily",
    "RandomCells",
    "Readout",
    "ResNetRegressor",
    "RidgeReadout",
    "SampledField",
    "ScanCross",
    "ScoreReadout",
    "StackedReadout",
    "TTBottleneck",
    "TTProjection",
    "TTSVD",
    "TensorizedDecomposition",
    "TimeCourseReadout",
    "TwoBranchHead",
    "VolumeRegressor",
    "VoxelEncoder",
    "WholeGridRegressor",
    "attribute",
    "coarse_scan",
    "coarse_size",
    "paper_net",
    "random_cells_net",
]
