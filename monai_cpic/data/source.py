"""Sources: where the voxels of a volume are, and how they are read."""

from __future__ import annotations

import mmap
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["ArraySource", "MappedSource", "Source"]

OPEN_MAPS = 128  # per process: each holds a file descriptor, and a cohort has more scans than a process may have of these


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

    def release(self) -> None:
        """Give back what reading has kept in memory, if anything."""


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
    """Voxels in an uncompressed file, mapped read-only when a process needs them: the source itself is a description only.

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

    def __post_init__(self) -> None:
        needed = self.offset + int(np.prod(self.stored_shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize
        found = Path(self.path).stat().st_size
        if found < needed:
            raise ValueError(f"{self.path} is truncated: it has {found} bytes instead of {needed}; fetch the file again")

    @property
    def shape(self) -> tuple[int, ...]:
        """``(C, *spatial)``."""
        return tuple(self.stored_shape[axis] for axis in self.axes)

    def array(self) -> np.ndarray:
        """The mapped file.

        Raises:
            FileNotFoundError: if it has been removed since.
        """
        mapped = _mapped(self.path, self.dtype, self.stored_shape, self.offset)
        return np.asarray(mapped).transpose(self.axes)  # a plain view: indexing a memmap is slower

    def release(self) -> None:
        """Unmap the pages that were read, which the system keeps in its cache: they would count as this process' memory."""
        if hasattr(mmap, "MADV_DONTNEED"):
            _mapped(self.path, self.dtype, self.stored_shape, self.offset)._mmap.madvise(mmap.MADV_DONTNEED)


@lru_cache(maxsize=OPEN_MAPS)
def _mapped(path: str, dtype: str, shape: tuple[int, ...], offset: int) -> Any:
    mapped = np.memmap(path, dtype, "r", offset, shape)
    if hasattr(mmap, "MADV_RANDOM"):  # not on Windows; read-ahead fetches what nobody asked for
        mapped._mmap.madvise(mmap.MADV_RANDOM)
    return mapped
