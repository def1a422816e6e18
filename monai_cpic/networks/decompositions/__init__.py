"""Decompositions: from a latent field to a tensor train."""

from monai_cpic.networks.decompositions.index_store import IndexStore

__all__ = ["IndexStore"]
