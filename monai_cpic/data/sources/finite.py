"""Voxels that are NaN, infinite or beyond float32: refused or replaced."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monai_cpic.data.gather.indexing import clamped, product
from monai_cpic.data.sources.base import Source

__all__ = ["WAY_OUT", "FiniteSource"]

logger = logging.getLogger(__name__)

WAY_OUT = "where a finite float32 is expected: correct the scan, or open it with fill= and the value to read instead"


@dataclass(frozen=True)
class FiniteSource(Source):
    """True values of another source; those that are NaN or infinite in float32 are replaced and counted, or raise an error.

    Args:
        source: the source that is read.
        name: of the scan, for messages.
        fill: the value to read instead; None raises an error.
    """

    source: Source
    name: str
    fill: float | None = None
    _tally: Counter[str] = field(default_factory=Counter, compare=False, repr=False)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.source.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of true values, and of what replaces them."""
        found = self.source.scaled(np.empty(0, self.source.dtype)).dtype
        return found if self.fill is None else np.result_type(found, np.float32)

    @property
    def filled(self) -> int:
        """The number of replaced voxels that this process has read; a voxel that is read twice counts twice."""
        return self._tally["filled"]

    def points(self, indices: Sequence[NDArray[Any]]) -> NDArray[Any]:
        """Read single voxels.

        Raises:
            ValueError: if one is not finite and there is no ``fill``.
        """
        return self._finite(self.source.points(indices), indices)

    def blocks(self, corners: NDArray[Any], edges: Sequence[int]) -> NDArray[Any]:
        """Read blocks of one size.

        Raises:
            ValueError: if a voxel is not finite and there is no ``fill``.
        """
        return self._finite(self.source.blocks(corners, edges), product(clamped(corners, edges, self.shape[1:])))

    def level(self, factors: tuple[int, ...], through: Source | None = None) -> Source:
        """The level of the source, averaged over true or replaced values.

        Raises:
            ValueError: if any voxel is not finite and there is no ``fill``.
        """
        return replace(self, source=self.source.level(factors, through or self))

    def files(self) -> Sequence[Path]:
        return self.source.files()

    def release(self) -> None:
        self.source.release()

    def _finite(self, stored: NDArray[Any], indices: Sequence[NDArray[Any]]) -> NDArray[Any]:
        with np.errstate(over="ignore", invalid="ignore"):  # of float16 and float32, nothing is copied
            values = self.source.scaled(stored)
            bad = ~np.isfinite(values.astype(np.float32) if values.itemsize > 4 else values)
        if not bad.any():
            return values if self.fill is None else values.astype(self.dtype, copy=False)
        channel, *position = np.argwhere(bad)[0]
        voxel = tuple(int(np.broadcast_to(index, bad.shape[1:])[tuple(position)]) for index in indices)
        found = f"{self.name}: voxel {voxel} of channel {channel} is {values[(channel, *position)]}"
        if self.fill is None:
            raise ValueError(f"{found}, {WAY_OUT}")
        if not self.filled:
            logger.warning("%s; such voxels are read as %g", found, self.fill)
        self._tally["filled"] += int(bad.sum())
        return np.where(bad, np.asarray(self.fill, self.dtype), values)  # float16 may not hold it
