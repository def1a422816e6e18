"""Where voxels are stored: in memory, or in a file that is mapped into memory on demand."""

from __future__ import annotations

import mmap
import os
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["MappedFile", "MemoryArray", "VoxelSource"]

OPEN_FILES = 128  # memory-maps kept open in one process; each holds a file descriptor


class VoxelSource(Protocol):
    """Stored voxels, before any scaling: picklable and cheap to copy."""

    def array(self) -> NDArray:
        """Read-only array ``[C, *spatial]`` in the stored dtype."""


@dataclass(frozen=True, eq=False)
class MemoryArray:
    """An array ``[C, *spatial]`` in memory."""

    values: NDArray

    def array(self) -> NDArray:
        """The array."""
        return self.values


@dataclass(frozen=True)
class MappedFile:
    """Raw numbers in a file, opened when first read in a process; pickles as a path.

    Args:
        path: the file; it must not change while it is in use.
        dtype: numpy's name of the stored type, with its byte order.
        stored_shape: shape of the numbers in the order of the file, slowest axis first.
        axes: the axes of the file, in the order (channel, *spatial).
        offset: byte of the first number.
    """

    path: str
    dtype: str
    stored_shape: tuple[int, ...]
    axes: tuple[int, ...]
    offset: int = 0

    def array(self) -> NDArray:
        """The mapped numbers as ``[C, *spatial]``.

        Raises:
            FileNotFoundError: if the file is gone.
            ValueError: if the file is shorter than its shape says.
        """
        return _mapped(self).transpose(self.axes)


@lru_cache(maxsize=OPEN_FILES)
def _mapped(source: MappedFile) -> NDArray:
    expected = source.offset + int(np.prod(source.stored_shape)) * np.dtype(source.dtype).itemsize
    if os.path.getsize(source.path) < expected:
        raise ValueError(
            f"{source.path}: truncated, {os.path.getsize(source.path)} bytes where shape and data type need {expected}; copy the file again"
        )
    mapped = np.memmap(source.path, source.dtype, "r", source.offset, source.stored_shape)
    if hasattr(mmap, "MADV_RANDOM"):  # cubes lie anywhere: reading ahead would fill the memory with voxels nobody asked for
        mapped._mmap.madvise(mmap.MADV_RANDOM)  # type: ignore[attr-defined]
    return np.asarray(mapped)
