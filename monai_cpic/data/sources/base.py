"""The interface of sources of voxels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from monai_cpic.data.gather import indexing

__all__ = ["Source", "StridedSource"]


@dataclass(frozen=True)
class Source:
    """Stored voxels ``[C, *spatial]`` that are read when they are needed.

    A new kind of source implements :attr:`shape`, :attr:`dtype` and :meth:`points`.  Sources are immutable and picklable, and
    they can be used in forked processes.

    Args:
        scaling: slope and intercept from stored numbers to true values.
    """

    scaling: tuple[float, float] = field(default=(1.0, 0.0), kw_only=True)

    @property
    def shape(self) -> tuple[int, ...]:
        """``(C, *spatial)``."""
        raise NotImplementedError

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the stored numbers."""
        raise NotImplementedError

    def points(self, indices: Sequence[NDArray[Any]]) -> NDArray[Any]:
        """Read single voxels.

        Args:
            indices: for each spatial axis an int64 array of indices within the volume; they broadcast to one shape.

        Returns:
            stored numbers ``[C, *shape]``.
        """
        raise NotImplementedError

    def blocks(self, corners: NDArray[Any], edges: Sequence[int]) -> NDArray[Any]:
        """Read blocks of one size from anywhere; outside the volume, its border is repeated.

        Args:
            corners: first voxels, int64 ``[N, D]``.
            edges: ``D`` edge lengths.

        Returns:
            stored numbers ``[C, N, *edges]``.
        """
        return self.points(indexing.product(indexing.clamped(corners, edges, self.shape[1:])))

    def scaled(self, stored: NDArray[Any], dtype: DTypeLike = np.float32) -> NDArray[Any]:
        """True values of stored numbers, as ``dtype``; without a scaling, the numbers themselves."""
        if self.scaling == (1.0, 0.0):
            return stored
        slope, intercept = self.scaling
        values = stored.astype(dtype)
        if slope != 1:
            values *= slope
        if intercept != 0:
            values += intercept
        return values

    def release(self) -> None:
        """Free the memory that reading has taken and that the source does not need to keep."""


@dataclass(frozen=True)
class StridedSource(Source):
    """Voxels in one strided array, in memory or mapped."""

    def array(self) -> NDArray[Any]:
        """The stored numbers ``[C, *spatial]``, not copied."""
        raise NotImplementedError

    def points(self, indices: Sequence[NDArray[Any]]) -> NDArray[Any]:
        return indexing.points(self.array(), indices)

    def blocks(self, corners: NDArray[Any], edges: Sequence[int]) -> NDArray[Any]:
        return indexing.blocks(self.array(), corners, edges)
