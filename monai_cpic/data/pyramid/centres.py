"""Levels of volumes that are too large to be averaged: one voxel of each block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monai_cpic.data.pyramid.geometry import level_shape
from monai_cpic.data.sources.base import Source

__all__ = ["CentreSource", "centres"]


@dataclass(frozen=True)
class CentreSource(Source):
    """The voxels at the centres of blocks of another source, or the next ones, as even blocks have no voxel at their centre.

    Args:
        source: whose voxels are read.
        factors: edges of the blocks.
    """

    source: Source
    factors: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.source.shape[0], *level_shape(self.source.shape[1:], self.factors))

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.source.dtype

    def points(self, indices: Sequence[NDArray[Any]]) -> NDArray[Any]:
        axes = zip(indices, self.factors, self.source.shape[1:], strict=True)
        return self.source.points([np.minimum(index * factor + factor // 2, edge - 1) for index, factor, edge in axes])

    def level(self, factors: tuple[int, ...], through: Source | None = None) -> Source:
        """The level of the source that has these blocks of blocks."""
        return centres(self.source, tuple(own * factor for own, factor in zip(self.factors, factors, strict=True)))

    def files(self) -> Sequence[Path]:
        return self.source.files()

    def release(self) -> None:
        self.source.release()


def centres(source: Source, factors: tuple[int, ...]) -> CentreSource:
    """The level of a source that consists of its voxels at the centres of blocks."""
    return CentreSource(source, factors, scaling=source.scaling)
