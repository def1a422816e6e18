"""What to do about voxels that are not finite."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from monai_cpic.data.gather import clamped, product
from monai_cpic.data.source import Source

__all__ = ["FiniteSource"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FiniteSource(Source):
    """True values of a source, of which those that are NaN or infinite are an error, or replaced and counted as they are read.

    Args:
        source: what is read.
        name: of the scan, for messages.
        fill: the value in their place; None refuses them.
    """

    source: Source
    name: str
    fill: float | None = None
    _tally: Counter[str] = field(default_factory=Counter, compare=False, repr=False)

    @property
    def shape(self) -> tuple[int, ...]:
        """``(C, *spatial)``."""
        return self.source.shape

    @property
    def dtype(self) -> np.dtype:
        """That of true values."""
        return self.source.scaled(np.empty(0, self.source.dtype)).dtype

    @property
    def filled(self) -> int:
        """How often this process has read a voxel that was replaced."""
        return self._tally["filled"]

    def points(self, indices: Sequence[NDArray]) -> NDArray:
        """Single voxels.

        Raises:
            ValueError: if one is not finite and there is nothing to fill in.
        """
        return self._finite(self.source.points(indices), indices)

    def blocks(self, corners: NDArray, edges: Sequence[int]) -> NDArray:
        """Blocks of one size.

        Raises:
            ValueError: if a voxel is not finite and there is nothing to fill in.
        """
        return self._finite(self.source.blocks(corners, edges), product(clamped(corners, edges, self.shape[1:])))

    def release(self) -> None:
        """Release what is read."""
        self.source.release()

    def _finite(self, stored: NDArray, indices: Sequence[NDArray]) -> NDArray:
        values = self.source.scaled(stored)
        bad = ~np.isfinite(values)
        if not bad.any():
            return values
        channel, *place = np.argwhere(bad)[0]
        voxel = tuple(int(np.broadcast_to(index, bad.shape[1:])[tuple(place)]) for index in indices)
        found = f"{self.name}: voxel {voxel} of channel {channel} is {values[(channel, *place)]}"
        if self.fill is None:
            raise ValueError(f"{found}; correct the file, or open it with fill= the value to put in its place")
        if not self.filled:
            logger.warning("%s; such voxels are read as %g", found, self.fill)
        self._tally["filled"] += int(bad.sum())
        return np.where(bad, np.array(self.fill, values.dtype), values)
