"""Decompositions: from a latent field to a tensor train."""

from monai_cpic.networks.decompositions.base import Decomposition, TensorizedDecomposition
from monai_cpic.networks.decompositions.cross import CrossApproximation
from monai_cpic.networks.decompositions.index_store import IndexStore
from monai_cpic.networks.decompositions.random_cells import RandomCells
from monai_cpic.networks.decompositions.scan_cross import ScanCross
from monai_cpic.networks.decompositions.svd import TTSVD

__all__ = ["CrossApproximation", "Decomposition", "IndexStore", "RandomCells", "ScanCross", "TTSVD", "TensorizedDecomposition"]
