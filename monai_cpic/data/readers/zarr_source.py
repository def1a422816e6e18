"""Voxels in a Zarr array, on disk or behind a URL: chunks are decoded when they are first needed."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monai_cpic.data.cache.chunks import ChunksDoNotFit, shared_chunk_cache
from monai_cpic.data.pyramid.geometry import level_shape
from monai_cpic.data.pyramid.levels import in_cache
from monai_cpic.data.readers.base import damaged, is_url
from monai_cpic.data.sources.base import Source

__all__ = ["ZarrSource"]

OPEN_ARRAYS = 64  # per process


@dataclass(frozen=True)
class ZarrSource(Source):
    """Voxels of a Zarr array.  The source is a description, which pickles small; each process opens the array itself.

    A chunk that cannot be fetched is tried again a few times.  A chunk that is not in the store has the array's fill value, as
    the Zarr format defines, because writers omit empty chunks.  It is an error if the array has no fill value, or with
    ``missing_chunks="error"``, for stores that are known to be complete.  In a sharded array only missing shards are noticed.

    A chunk on disk that is written again is read again.  What is behind a URL must not change while a process reads it: its
    chunks are read once.

    Args:
        location: folder or URL of the store.
        path: of the array in the store.
        stored_shape: sizes of all stored axes.
        chunks: edges of the smallest unit that is decoded, along all stored axes.
        stored_dtype: numpy's name.
        spatial: the stored axes that are ``X, Y[, Z]``.
        channel: the stored axis that is the channel, if any.
        missing_chunks: ``"fill"`` or ``"error"``.
        storage_options: of fsspec, as JSON.
        coarser: levels that the store has: edges of the blocks of voxels, and the path of the array.
        version: of the array's metadata, see :func:`~monai_cpic.data.readers.zarr_store.version`.
    """

    location: str
    path: str
    stored_shape: tuple[int, ...]
    chunks: tuple[int, ...]
    stored_dtype: str
    spatial: tuple[int, ...]
    channel: int | None = None
    missing_chunks: str = "fill"
    storage_options: str = field(default="{}", repr=False)
    coarser: tuple[tuple[tuple[int, ...], str], ...] = field(default=(), repr=False)
    version: str = ""

    @property
    def shape(self) -> tuple[int, ...]:
        channels = 1 if self.channel is None else self.stored_shape[self.channel]
        return (channels, *(self.stored_shape[axis] for axis in self.spatial))

    @property
    def dtype(self) -> np.dtype[Any]:
        """The stored dtype in the byte order of this machine."""
        return np.dtype(self.stored_dtype).newbyteorder("=")

    @property
    def grid(self) -> tuple[int, ...]:
        """The number of chunks along each stored axis."""
        return tuple(-(-edge // chunk) for edge, chunk in zip(self.stored_shape, self.chunks, strict=True))

    def points(self, indices: Sequence[NDArray[Any]]) -> NDArray[Any]:
        """Read single voxels.

        Raises:
            ValueError: if a chunk is missing or damaged, or one patch touches more chunks than the cache holds.
            OSError: if a chunk cannot be fetched.
        """
        axes = dict(zip(self.spatial, indices, strict=True))
        chunks: NDArray[Any] = np.zeros((), np.int64)
        offsets: NDArray[Any] = np.zeros((), np.int64)
        for axis in sorted(axes):
            number, within = np.divmod(axes[axis], self.chunks[axis])
            chunks = chunks + number * math.prod(self.grid[axis + 1 :])
            offsets = offsets + within * math.prod(self.chunks[axis + 1 :])
        try:
            return np.stack([self._channel(number, chunks, offsets) for number in range(self.shape[0])])
        except ChunksDoNotFit as error:
            count = len(chunks)
            if count == 1:
                raise ValueError(
                    f"{self.location}: a patch touches more chunks {self.chunks} than the cache holds ({error}); "
                    "raise MONAI_CPIC_CHUNK_CACHE (MiB)"
                ) from error
        parts = (slice(None, count // 2), slice(count // 2, None))
        return np.concatenate([self.points([i[part] if len(i) == count else i for i in indices]) for part in parts], 1)

    def level(self, factors: tuple[int, ...], through: Source | None = None) -> Source:
        """The store's own level, if it has one for these blocks, with values as its writer made them; else one in the cache.

        What is cached belongs to the location, the version and, of stores on disk, to the files of the array.
        """
        if path := dict(self.coarser).get(factors):
            from monai_cpic.data.readers.zarr_store import version  # zarr is optional

            own = _own_level(self, factors, path, version(self.location, path, self.storage_options), os.getpid())
            if own is not None:
                return own
        order = sorted(range(len(factors)), key=lambda axis: self.spatial[axis])
        return in_cache(through or self, factors, order, self.files(), chunks=[self.chunks[axis] for axis in self.spatial])

    def files(self) -> Sequence[Path]:
        """Those of the array, of a store on disk."""
        if is_url(self.location):
            return ()
        return sorted(path for path in (Path(self.location) / self.path).rglob("*") if path.is_file())

    def _channel(self, number: int, chunks: NDArray[Any], offsets: NDArray[Any]) -> NDArray[Any]:
        opened = _opened(self, os.getpid())
        cache = shared_chunk_cache(math.prod(self.chunks) * self.dtype.itemsize)
        if self.channel is not None:
            chunk, within = divmod(number, self.chunks[self.channel])
            chunks = chunks + chunk * math.prod(self.grid[self.channel + 1 :])
            offsets = offsets + within * math.prod(self.chunks[self.channel + 1 :])
        if not opened.on_disk:
            return cache.read(opened.table, chunks, offsets, self.dtype, opened.load)
        opened.check()
        return cache.read(opened.table, chunks, offsets, self.dtype, opened.load, opened.version)


class _Opened:
    """An array that this process has opened, and the table of its chunks in the cache."""

    def __init__(self, source: ZarrSource) -> None:
        self.source = source
        with damaged(f"{source.location}: {source.path}", "has more chunks than the memory has room for"):
            self.table = np.zeros(math.prod(source.grid), np.int32)
        from monai_cpic.data.readers.zarr_store import open_array, version, with_retries  # zarr is optional

        self.with_retries = with_retries
        self._array_version = version
        self.on_disk = not is_url(source.location)
        self.check()
        self.array: Any = with_retries(
            lambda: open_array(source.location, source.path, source.storage_options), source.location, source.path
        )
        fill = self.array.metadata.fill_value
        self.strict = source.missing_chunks == "error" or fill is None
        self.fill = 0 if fill is None else fill

    def check(self) -> None:
        """Refuse an array whose shape or codecs may have changed."""
        source = self.source
        if self._array_version(source.location, source.path, source.storage_options) != source.version:
            raise ValueError(f"{source.location}: {source.path} has changed since it was opened: open it again")

    def load(self, chunk: int, voxels: NDArray[Any]) -> None:
        """Decode a chunk into an array; at the end of an axis, the chunk may be smaller."""
        position = [int(number) for number in np.unravel_index(chunk, self.source.grid)]
        location, part = self.source.location, f"chunk {self._key(position)}"
        window = tuple(
            slice(number * edge, (number + 1) * edge) for number, edge in zip(position, self.source.chunks, strict=True)
        )
        values = self.with_retries(lambda: np.asarray(self.array[window]), location, part)
        if (
            self.strict
            and np.array_equal(values, np.full_like(values, self.fill), equal_nan=values.dtype.kind == "f")
            and not self.with_retries(lambda: self._exists(position), location, part)
        ):
            raise ValueError(
                f"{location}: {part} is missing; fetch the store again, or read it as empty with missing_chunks='fill'"
            )
        voxels[: math.prod(self.source.chunks)].reshape(self.source.chunks)[tuple(map(slice, values.shape))] = values

    def version(self, chunk: int) -> tuple[int, int, int] | None:
        """The file of a chunk on disk as it is now, or None if there is none."""
        position = [int(number) for number in np.unravel_index(chunk, self.source.grid)]
        try:
            status = os.stat(f"{self.source.location}/{self._key(position)}")
        except FileNotFoundError:
            return None
        return status.st_ino, status.st_size, status.st_mtime_ns

    def _key(self, position: Sequence[int]) -> str:
        """The key of a chunk in the store, or of the shard that holds it."""
        files = self.array.shards or self.array.chunks
        numbers = [number * edge // file for number, edge, file in zip(position, self.source.chunks, files, strict=True)]
        return f"{self.source.path}/{self.array.metadata.encode_chunk_key(tuple(numbers))}"

    def _exists(self, position: Sequence[int]) -> bool:
        import fsspec

        files, root = fsspec.url_to_fs(self.source.location, **json.loads(self.source.storage_options))
        try:
            files.info(f"{root}/{self._key(position)}")
        except FileNotFoundError:
            return False
        return True


@lru_cache(maxsize=OPEN_ARRAYS)
def _opened(source: ZarrSource, process: int) -> _Opened:
    """One per process: connections and event loops do not survive a fork."""
    return _Opened(source)


@lru_cache(maxsize=OPEN_ARRAYS)
def _own_level(source: ZarrSource, factors: tuple[int, ...], path: str, version: str, process: int) -> ZarrSource | None:
    """The level of the store that has these blocks, of all channels, and as many of them as an average would."""
    from monai_cpic.data.readers.zarr_store import open_array, with_retries  # zarr is optional

    array: Any = with_retries(lambda: open_array(source.location, path, source.storage_options), source.location, path)
    stored = tuple(array.shape), tuple(array.chunks), array.dtype.str
    axes = source.spatial, source.channel, source.missing_chunks
    level = ZarrSource(source.location, path, *stored, *axes, source.storage_options, version=version)
    return level if level.shape == (source.shape[0], *level_shape(source.shape[1:], factors)) else None
