"""Projections: from tensor trains to feature vectors."""

from monai_cpic.networks.projections.canonical import TTProjection
from monai_cpic.networks.projections.channel_means import ChannelMeans

__all__ = ["ChannelMeans", "TTProjection"]
