"""Sources: where the voxels of a volume are, and how they are read."""

from __future__ import annotations

import math
import mmap
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray
from torch import Tensor

from monai_cpic.data import gather
from monai_cpic.data.readahead import announce, missing

__all__ = ["ArraySource", "MappedSource", "Source", "StridedSource", "TensorSource"]

OPEN_MAPS = 128  # per process: each holds a file descriptor, and a cohort has more scans than a process may have of these


@dataclass(frozen=True)
class Source:
    """Voxels ``[C, *spatial]`` of a stored dtype that are read when they are asked for.

    A new kind of source has a shape, a dtype and :meth:`points`.  Sources are immutable, picklable and may be used after a fork.

    Args:
        scaling: slope and intercept from stored to true values.
    """

    scaling: tuple[float, float] = field(default=(1.0, 0.0), kw_only=True)

    @property
    def shape(self) -> tuple[int, ...]:
        """``(C, *spatial)``."""
        raise NotImplementedError

    @property
    def dtype(self) -> np.dtype:
        """The stored type."""
        raise NotImplementedError

    def points(self, indices: Sequence[NDArray]) -> NDArray:
        """Single voxels.

        Args:
            indices: for each spatial axis an int64 array; they lie within the volume and broadcast to one shape.

        Returns:
            ``[C, *shape]``, as stored.
        """
        raise NotImplementedError

    def blocks(self, corners: NDArray, edges: Sequence[int]) -> NDArray:
        """Blocks of one size from anywhere; voxels outside are those of the border.

        Args:
            corners: first voxels, int64 ``[N, D]``.
            edges: ``D`` numbers.

        Returns:
            ``[C, N, *edges]``, as stored.
        """
        return self.points(gather.product(gather.clamped(corners, edges, self.shape[1:])))

    def scaled(self, stored: NDArray, dtype: DTypeLike = np.float32) -> NDArray:
        """True values: of ``dtype`` where there is a scaling, else the numbers as stored."""
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
        """Give back what reading has kept in memory, if anything."""


@dataclass(frozen=True)
class StridedSource(Source):
    """Voxels in one strided array, in memory or mapped."""

    def array(self) -> np.ndarray:
        """All voxels ``[C, *spatial]``, as stored."""
        raise NotImplementedError

    def points(self, indices: Sequence[NDArray]) -> NDArray:
        """Single voxels."""
        return gather.points(self.array(), indices)

    def blocks(self, corners: NDArray, edges: Sequence[int]) -> NDArray:
        """Blocks of one size."""
        return gather.blocks(self.array(), corners, edges)


@dataclass(frozen=True)
class ArraySource(StridedSource):
    """Voxels in memory.

    Args:
        values: ``[C, *spatial]``.
    """

    values: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """``(C, *spatial)``."""
        return self.values.shape

    @property
    def dtype(self) -> np.dtype:
        """The array's."""
        return self.values.dtype

    def array(self) -> np.ndarray:
        """The array itself."""
        return self.values


@dataclass(frozen=True, eq=False)
class TensorSource(Source):
    """Voxels on an accelerator: they stay there, and only those that are asked for are copied to the host.

    Args:
        values: ``[C, *spatial]``, of a dtype that numpy has.
    """

    values: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        """``(C, *spatial)``."""
        return tuple(self.values.shape)

    @property
    def dtype(self) -> np.dtype:
        """The tensor's."""
        return self.values.new_empty(0, device="cpu").numpy().dtype

    def points(self, indices: Sequence[NDArray]) -> NDArray:
        """Single voxels."""
        places = [torch.from_numpy(index).to(self.values.device) for index in indices]
        return self.values[(slice(None), *places)].cpu().numpy()


@dataclass(frozen=True)
class MappedSource(StridedSource):
    """Voxels in an uncompressed file, mapped read-only when a process needs them: the source itself is a description only.

    Args:
        path: the file.
        stored_dtype: numpy's name of the stored dtype, with its byte order.
        stored_shape: shape as the file lies, the last axis contiguous.
        axes: which stored axis each of ``(C, *spatial)`` is.
        offset: bytes before the first voxel.

    Raises:
        ValueError: on construction and on reading, if the file is shorter than announced.
    """

    path: str
    stored_dtype: str
    stored_shape: tuple[int, ...]
    axes: tuple[int, ...]
    offset: int = 0

    def __post_init__(self) -> None:
        self._version()

    @property
    def shape(self) -> tuple[int, ...]:
        """``(C, *spatial)``."""
        return tuple(self.stored_shape[axis] for axis in self.axes)

    @property
    def dtype(self) -> np.dtype:
        """With its byte order."""
        return np.dtype(self.stored_dtype)

    def array(self) -> np.ndarray:
        """The mapped file.

        Raises:
            FileNotFoundError: if it has been removed since.
        """
        return np.asarray(self._map()).transpose(self.axes)  # a plain view: indexing a memmap is slower

    def points(self, indices: Sequence[NDArray]) -> NDArray:
        """Single voxels."""
        self._read_ahead(indices)
        return super().points(indices)

    def blocks(self, corners: NDArray, edges: Sequence[int]) -> NDArray:
        """Blocks of one size."""
        lines = gather.clamped(corners, edges, self.shape[1:])
        row = int(np.argmin(self.array().strides[1:]))  # along it voxels lie side by side: two of them tell the pages
        lines[row] = lines[row][:, [0, -1]]
        self._read_ahead(gather.product(lines))
        return super().blocks(corners, edges)

    def _read_ahead(self, indices: Sequence[NDArray]) -> None:
        strides = self.array().strides
        if not missing(self.path, self.offset + _dot([index.reshape(len(index), -1)[:, 0] for index in indices], strides[1:])):
            return
        begin = self.offset % mmap.ALLOCATIONGRANULARITY  # of the voxels, in the map
        channels = np.arange(self.shape[0]) * strides[0]
        announce(self._map()._mmap, begin + np.add.outer(channels, _dot(indices, strides[1:])))

    def release(self) -> None:
        """Unmap the pages that were read, which the system keeps in its cache: they would count as this process' memory."""
        if hasattr(mmap, "MADV_DONTNEED"):
            self._map()._mmap.madvise(mmap.MADV_DONTNEED)

    def _map(self) -> Any:
        return _mapped(self.path, self.stored_dtype, self.stored_shape, self.offset, self._version())

    def _version(self) -> tuple[int, int, int]:
        """What tells a file from the one that replaces it."""
        status = Path(self.path).stat()
        needed = self.offset + math.prod(self.stored_shape) * self.dtype.itemsize
        if status.st_size < needed:  # reading a map beyond the end of its file would end the process
            raise ValueError(f"{self.path} is truncated: it has {status.st_size} bytes instead of {needed}; fetch the file again")
        return status.st_ino, status.st_size, status.st_mtime_ns


def _dot(indices: Sequence[NDArray], strides: Sequence[int]) -> NDArray:
    """Bytes from the first voxel; the index arrays broadcast."""
    return sum((index * stride for index, stride in zip(indices, strides, strict=True)), np.int64(0))


@lru_cache(maxsize=OPEN_MAPS)
def _mapped(path: str, dtype: str, shape: tuple[int, ...], offset: int, version: tuple[int, int, int]) -> Any:
    mapped = np.memmap(path, dtype, "r", offset, shape)
    if hasattr(mmap, "MADV_RANDOM"):  # not on Windows; read-ahead fetches what nobody asked for
        mapped._mmap.madvise(mmap.MADV_RANDOM)
    return mapped
