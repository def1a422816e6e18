"""Voxels in an uncompressed file, mapped into memory."""

from __future__ import annotations

import math
import mmap
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from monai_cpic.data.gather import indexing
from monai_cpic.data.sources.base import Source, StridedSource
from monai_cpic.data.sources.readahead import announce, missing

__all__ = ["MappedSource"]

# Per process: each map holds a file descriptor, a cohort has more scans than a process may have of those (``ulimit -n``), and
# others need some, too.
DESCRIPTORS = os.sysconf("SC_OPEN_MAX") if hasattr(os, "sysconf") else 512
OPEN_MAPS = min(128, max(DESCRIPTORS, 64) // 4)
KEPT = 2**29  # bytes of files that stay mapped in a process, as far as they were read: reading a page again is then for nothing


@dataclass(frozen=True)
class MappedSource(StridedSource):
    """Voxels in an uncompressed file, mapped read-only by each process that needs them; the source itself is a description.

    A source belongs to the file as it was when the source was made.  A file that is replaced or overwritten is an error from the
    next read on, also for a read that was going on.  One that is made shorter while it is read ends the process (SIGBUS): replace
    files by renaming others.

    Args:
        path: the file.
        stored_dtype: numpy's name of the stored dtype, with its byte order.
        stored_shape: the shape as stored, the last axis contiguous.
        axes: for each of ``(C, *spatial)``, the stored axis that it is.
        offset: bytes before the first voxel.
        cache_dir: where levels are kept (:func:`~monai_cpic.data.cache.unpacked.cached`).
        version: size and modification time (ns) of the file; default: those that it has now.

    Raises:
        ValueError: on construction and on reading, if the file is shorter than these numbers require, or has changed.
    """

    path: str
    stored_dtype: str
    stored_shape: tuple[int, ...]
    axes: tuple[int, ...]
    offset: int = 0
    cache_dir: str | None = field(default=None, kw_only=True, compare=False, repr=False)
    version: tuple[int, int] | None = field(default=None, kw_only=True, compare=False)

    def __post_init__(self) -> None:
        if self.version is None:
            object.__setattr__(self, "version", _version(os.stat(self.path)))
        self._check(os.stat(self.path))

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.stored_shape[axis] for axis in self.axes)

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.stored_dtype)

    def array(self) -> NDArray[Any]:
        """The mapped file ``[C, *spatial]``.

        Raises:
            FileNotFoundError: if the file has been removed.
        """
        return np.asarray(self._map()).transpose(self.axes)  # a plain view: indexing a memmap is slower

    def points(self, indices: Sequence[NDArray[Any]]) -> NDArray[Any]:
        voxels = self.array()
        if self._missing(voxels, [index.reshape(len(index), -1)[:, 0] for index in indices]):
            self._announce(voxels, indices)
        found = indexing.points(voxels, indices)
        self._check(os.stat(self.path))
        return found

    def blocks(self, corners: NDArray[Any], edges: Sequence[int]) -> NDArray[Any]:
        voxels = self.array()
        if self._missing(voxels, corners.clip(0, np.array(self.shape[1:]) - 1).T):
            lines = indexing.clamped(corners, edges, self.shape[1:])
            row = int(np.argmin(voxels.strides[1:]))  # voxels are contiguous along it: the first and the last give the pages
            lines[row] = lines[row][:, [0, -1]]
            self._announce(voxels, indexing.product(lines))
        found = indexing.blocks(voxels, corners, edges)
        self._check(os.stat(self.path))
        return found

    def files(self) -> Sequence[Path]:
        return [Path(self.path)]

    def _missing(self, voxels: NDArray[Any], first: Sequence[NDArray[Any]] | NDArray[Any]) -> bool:
        """Whether pages have to be read from disk, judged by the first voxel ``[N]`` of each patch."""
        return missing(self.path, self.offset + _dot(first, voxels.strides[1:]))

    def _announce(self, voxels: NDArray[Any], indices: Sequence[NDArray[Any]]) -> None:
        begin = self.offset % mmap.ALLOCATIONGRANULARITY  # of the voxels, in the map
        channels = np.arange(self.shape[0]) * voxels.strides[0]
        announce(self._map()._mmap, begin + np.add.outer(channels, _dot(indices, voxels.strides[1:])))

    def level(self, factors: tuple[int, ...], through: Source | None = None) -> Source:
        """A level, averaged once and kept in the cache folder as long as the file does not change."""
        from monai_cpic.data.pyramid.levels import in_cache  # which makes sources

        order = sorted(range(len(factors)), key=lambda axis: self.axes[axis + 1])
        return in_cache(through or self, factors, order, self.files(), cache_dir=self.cache_dir)

    def release(self) -> None:
        """Unmap what was read of the files that were used least recently, down to :data:`KEPT` bytes.

        Those pages stay in the system's cache but would count as memory of this process.
        """
        if not hasattr(mmap, "MADV_DONTNEED"):
            return
        mapped = self._map()._mmap
        known = _read.pop(mapped, False)
        _read[mapped] = True
        if known:
            return
        maps = [used for used in (reference() for reference in _read.keyrefs()) if used is not None]  # other threads read, too
        excess = sum(map(len, maps)) - KEPT
        for used in maps:
            if excess <= 0:
                break
            used.madvise(mmap.MADV_DONTNEED)
            _read.pop(used, None)
            excess -= len(used)

    def _map(self) -> Any:
        status = os.stat(self.path)
        self._check(status)
        return _mapped(self.path, self.stored_dtype, self.stored_shape, self.offset, (status.st_ino, *_version(status)))

    def _check(self, status: os.stat_result) -> None:
        """Refuse a file that is not the one that was opened."""
        needed = self.offset + math.prod(self.stored_shape) * self.dtype.itemsize
        if status.st_size < needed:  # reading a map beyond the end of its file would kill the process
            raise ValueError(f"{self.path} is truncated: it has {status.st_size} bytes instead of {needed}; fetch the file again")
        if _version(status) != self.version:
            raise ValueError(f"{self.path} has changed since it was opened: open it again")


# The maps of which this process has read pages; the last used is the last.
_read: WeakKeyDictionary[mmap.mmap, bool] = WeakKeyDictionary()


def _dot(indices: Sequence[NDArray[Any]] | NDArray[Any], strides: Sequence[int]) -> NDArray[Any]:
    """Bytes from the first voxel; the index arrays broadcast."""
    return np.asarray(sum((index * stride for index, stride in zip(indices, strides, strict=True)), np.int64(0)))


def _version(status: os.stat_result) -> tuple[int, int]:
    return status.st_size, status.st_mtime_ns


@lru_cache(maxsize=OPEN_MAPS)
def _mapped(path: str, dtype: str, shape: tuple[int, ...], offset: int, version: tuple[int, int, int]) -> Any:
    with open(path, "rb") as file:
        status = os.fstat(file.fileno())
        if (status.st_ino, *_version(status)) != version:
            raise ValueError(f"{path} has changed while it was opened: open it again")
        mapped: Any = np.memmap(file, dtype, "r", offset, shape)
    if hasattr(mmap, "MADV_RANDOM"):  # not on Windows; the system's own read-ahead fetches pages that nobody needs
        mapped._mmap.madvise(mmap.MADV_RANDOM)
    return mapped
