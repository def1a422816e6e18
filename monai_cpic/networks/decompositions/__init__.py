"""Which voxels are encoded, and what projections and readouts see of them."""

from monai_cpic.networks.decompositions.base import Decomposition, TensorizedDecomposition
from monai_cpic.networks.decompositions.cross import CrossApproximation
from monai_cpic.networks.decompositions.curriculum import Curriculum
from monai_cpic.networks.decompositions.index_store import IndexStore
from monai_cpic.networks.decompositions.random_cells import RandomCells
from monai_cpic.networks.decompositions.scan_cross import ScanCross
from monai_cpic.networks.decompositions.svd import TTSVD

__all__ = [
    "CrossApproximation",
    "Curriculum",
    "Decomposition",
    "IndexStore",
    "RandomCells",
    "ScanCross",
    "TTSVD",
    "TensorizedDecomposition",
]
