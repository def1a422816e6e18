"""Sources: where the voxels of a volume are, and how they are read."""

from monai_cpic.data.sources.array import ArraySource, TensorSource
from monai_cpic.data.sources.base import Source, StridedSource
from monai_cpic.data.sources.finite import FiniteSource
from monai_cpic.data.sources.mapped import MappedSource

__all__ = ["ArraySource", "FiniteSource", "MappedSource", "Source", "StridedSource", "TensorSource"]
