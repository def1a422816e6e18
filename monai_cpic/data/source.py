"""Sources: where the voxels of a volume are, and how they are read."""

from __future__ import annotations

import mmap
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

__all__ = ["ArraySource", "MappedSource", "Source"]


@dataclass(frozen=True)
class Source:
    """Voxels ``[C, *spatial]`` of a stored dtype that are read when the array is indexed.

    Args:
        scaling: slope and intercept from stored to true values.
    """

    scaling: tuple[float, float] = field(default=(1.0, 0.0), kw_only=True)

    @property
    def shape(self) -> tuple[int, ...]:
        """``(C, *spatial)``."""
        raise NotImplementedError

    def array(self) -> np.ndarray:
        """The voxels as stored."""
        raise NotImplementedError


@dataclass(frozen=True)
class ArraySource(Source):
    """Voxels in memory.

    Args:
        values: ``[C, *spatial]``.
    """

    values: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """``(C, *spatial)``."""
        return self.values.shape

    def array(self) -> np.ndarray:
        """The array itself."""
        return self.values


@dataclass(frozen=True)
class MappedSource(Source):
    """Voxels in an uncompressed file, mapped read-only when a process first needs them; only the description is pickled.

    Args:
        path: the file.
        dtype: numpy's name of the stored dtype, with its byte order.
        stored_shape: shape as the file lies, the last axis contiguous.
        axes: which stored axis each of ``(C, *spatial)`` is.
        offset: bytes before the first voxel.

    Raises:
        ValueError: on construction, if the file is shorter than announced.
    """

    path: str
    dtype: str
    stored_shape: tuple[int, ...]
    axes: tuple[int, ...]
    offset: int = 0
    _maps: dict[int, np.ndarray] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        needed = self.offset + int(np.prod(self.stored_shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize
        found = Path(self.path).stat().st_size
        if found < needed:
            raise ValueError(f"{self.path} is truncated: it has {found} bytes, its header announces {needed}; fetch the file again")

    @property
    def shape(self) -> tuple[int, ...]:
        """``(C, *spatial)``."""
        return tuple(self.stored_shape[axis] for axis in self.axes)

    def array(self) -> np.ndarray:
        """The mapped file, one map per process."""
        process = os.getpid()
        if process not in self._maps:
            self._maps.clear()
            mapped = np.memmap(self.path, self.dtype, "r", self.offset, self.stored_shape)
            mapped._mmap.madvise(mmap.MADV_RANDOM)  # type: ignore[attr-defined]  # read-ahead fetches what nobody asked for
            self._maps[process] = np.asarray(mapped).transpose(self.axes)
        return self._maps[process]

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_maps": {}}
