"""Projections: from tensor trains to feature vectors."""

from monai_cpic.networks.projections.base import Projection
from monai_cpic.networks.projections.channel_means import ChannelMeans
from monai_cpic.networks.projections.convex_solver import ConvexSolver
from monai_cpic.networks.projections.principal_components import TTProjection

__all__ = ["ChannelMeans", "ConvexSolver", "Projection", "TTProjection"]
