"""From sampled latent fields to feature vectors."""

from monai_cpic.networks.projections.base import Projection
from monai_cpic.networks.projections.channel_maxima import ChannelMaxima
from monai_cpic.networks.projections.channel_means import ChannelMeans
from monai_cpic.networks.projections.convex_solver import ConvexSolver
from monai_cpic.networks.projections.joined import JoinedProjection
from monai_cpic.networks.projections.normalised import NormalisedProjection
from monai_cpic.networks.projections.octant_means import OctantMeans
from monai_cpic.networks.projections.principal_components import TTProjection

__all__ = [
    "ChannelMaxima",
    "ChannelMeans",
    "ConvexSolver",
    "JoinedProjection",
    "NormalisedProjection",
    "OctantMeans",
    "Projection",
    "TTProjection",
]
