"""The interface of sources of voxels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray
from torch import Tensor

from monai_cpic.data.gather import indexing
from monai_cpic.devices import move, side_by_side

if TYPE_CHECKING:
    from monai_cpic.data.gather.sampling import Sampling

__all__ = ["Source", "StridedSource", "tensor_of"]

SLAB = 2**24  # voxels that are copied to a device at a time


@dataclass(frozen=True)
class Source:
    """Stored voxels ``[C, *spatial]`` that are read when they are needed.

    A new kind of source implements :attr:`shape`, :attr:`dtype` and :meth:`points`, :meth:`files` if it reads some, and
    :meth:`level` if these should not be averaged anew by each process.  Sources are immutable and picklable, and they can be used
    in forked processes.

    Args:
        scaling: slope and intercept from stored numbers to true values.
    """

    scaling: tuple[float, float] = field(default=(1.0, 0.0), kw_only=True)
    _levels: dict[tuple[int, ...], Source] = field(default_factory=dict, init=False, compare=False, repr=False)

    @property
    def shape(self) -> tuple[int, ...]:
        """``(C, *spatial)``."""
        raise NotImplementedError

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the stored numbers."""
        raise NotImplementedError

    @property
    def device(self) -> torch.device:
        """Where patches are read: the host, except for voxels on an accelerator."""
        return torch.device("cpu")

    def patches(self, sampling: Sampling, starts: Tensor, size: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Read patches on a grid (:meth:`~monai_cpic.data.Sampling.patches`); ``starts`` and the result are on :attr:`device`."""
        return sampling.patches(self, starts.numpy(), size, dtype)

    def to(self, device: torch.device | str) -> Source:
        """The same voxels as a tensor on a device, in the stored dtype; so are the levels, from when they are first needed.

        Raises:
            RuntimeError: if the device has not enough memory (``torch.OutOfMemoryError``).
        """
        from monai_cpic.data.sources.array import TensorSource  # which is a source

        there = torch.device(device)
        values = side_by_side(lambda: tensor_of(self, there), there)
        return TensorSource(values, origin=self, scaling=self.scaling)

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

    def level(self, factors: tuple[int, ...], through: Source | None = None) -> Source:
        """The volume at a lower resolution: true values, averaged over blocks of voxels.

        The first block begins at the first voxel; blocks at the end average the voxels that there are.  Levels are float32.  By
        default a level is averaged when it is first needed and kept in memory with the source.  Of volumes of more than
        :data:`~monai_cpic.data.pyramid.levels.AVERAGED` voxels, a level has the voxels at the centres of the blocks instead.

        Args:
            factors: edges of the blocks, ``D`` powers of two.
            through: a source of the same voxels that is averaged instead of this one, such as one that replaces voxels that are
                not finite.

        Returns:
            a source of the shape ``(C, *⌈spatial / factors⌉)``.
        """
        source = self if through is None else through
        if factors not in source._levels:
            source._levels[factors] = source._averaged(factors)
        return source._levels[factors]

    def _averaged(self, factors: tuple[int, ...]) -> Source:
        from monai_cpic.data.pyramid.levels import in_memory  # which makes sources

        return in_memory(self, factors)

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

    def finite(self, name: str, fill: float | None = None) -> Source:
        """The same voxels, of which none is read that float32 cannot hold: NaN, infinite, or a number such as 1e300.

        Args:
            name: of the scan, for messages.
            fill: the value to read instead; None raises an error.
        """
        from monai_cpic.data.sources.finite import FiniteSource  # which is a source

        if self.dtype.kind == "f":
            return FiniteSource(self, name, fill)
        extremes = [0, 1] if self.dtype.kind == "b" else [np.iinfo(self.dtype).min, np.iinfo(self.dtype).max]
        with np.errstate(over="ignore"):
            fits = np.isfinite(self.scaled(np.array(extremes, self.dtype))).all()
        return self if fits else FiniteSource(self, name, fill)

    def files(self) -> Sequence[Path]:
        """The files that the voxels are read from; what is kept of them is made anew when one has another size or time.

        By default there are none.
        """
        return ()

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


def tensor_of(source: Source, device: torch.device) -> Tensor:
    """All stored numbers ``[C, *spatial]`` on a device; the host takes memory for a slab at a time."""
    channels, *shape = source.shape
    native = source.dtype.newbyteorder("=")
    values = torch.from_numpy(np.empty((channels, 0), native)).new_empty(source.shape, device=device)
    thickness = max(1, SLAB // (channels * math.prod(shape[1:])))
    for first in range(0, shape[0], thickness):
        corner = np.array([[first] + [0] * (len(shape) - 1)])
        slab = source.blocks(corner, [min(thickness, shape[0] - first), *shape[1:]])[:, 0]
        values[:, first : first + thickness] = move(torch.from_numpy(np.array(slab, native)), device)
        source.release()
    return values
