"""Decoded chunks of chunked volumes, kept in memory up to a limit."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["ChunkCache", "ChunksDoNotFit", "shared_chunk_cache"]

DEFAULT_LIMIT = 1024  # MiB
THREADS = 8  # more than cores, as decoding waits for disk or network


class ChunksDoNotFit(Exception):
    """One request touches more chunks than the cache can hold."""


class ChunkCache:
    """Slots of one size for decoded chunks of any volumes; the least recently used chunks are replaced.

    The slots are one buffer, so any set of voxels is read by a single index into it.  A table for each volume gives the slot of
    each chunk, counted from 1, or 0 for a chunk that is not cached.  Memory is taken when a slot is filled for the first time.

    Args:
        slot_bytes: size of a slot.
        limit: size of all slots, in bytes.

    Raises:
        ChunksDoNotFit: if not even one slot is within the limit.
    """

    def __init__(self, slot_bytes: int, limit: int) -> None:
        if slot_bytes > limit:
            raise ChunksDoNotFit(f"one takes {slot_bytes} bytes")
        slots = limit // slot_bytes + 1  # slot 0 stays empty
        self.slot_bytes = slot_bytes
        self._buffer = np.empty(slots * slot_bytes, np.uint8)
        self._used = np.zeros(slots, np.int64)  # for each slot, the number of its last request
        self._owners: list[tuple[NDArray[Any], int, Hashable] | None] = [None] * slots
        self._requests = 0
        self._lock = threading.Lock()

    def read(
        self,
        table: NDArray[Any],
        chunks: NDArray[Any],
        offsets: NDArray[Any],
        dtype: np.dtype[Any],
        load: Callable[[int, NDArray[Any]], None],
        version: Callable[[int], Hashable] | None = None,
    ) -> NDArray[Any]:
        """Read voxels by their chunks and their offsets within the chunks.

        Args:
            table: of one volume, int32: the slot of each chunk, 0 at first; updated here.
            chunks: numbers of the chunks, int64 ``[...]``.
            offsets: of the voxels within their chunks, int64 ``[...]``.
            dtype: of the voxels.
            load: given a chunk's number, writes its voxels into the given array; called in several threads for the chunks that
                are not cached.
            version: given a chunk's number, tells what is stored of it now from what was before; a chunk of another version is
                loaded again.  Default: chunks do not change.

        Raises:
            ChunksDoNotFit: if the chunks are more than the slots.
        """
        with self._lock:
            self._requests += 1
            slots = table[chunks]
            self._used[slots] = self._requests
            if version and self._forget_changed(version):
                slots = table[chunks]
            absent = np.unique(chunks[slots == 0])
            if len(absent):
                self._fill(table, absent, dtype, load, version)
                slots = table[chunks]
            positions = slots * np.int64(self.slot_bytes // dtype.itemsize)
            positions += offsets
            return np.asarray(self._buffer.view(dtype).take(positions))

    def _forget_changed(self, version: Callable[[int], Hashable]) -> bool:
        """Empty the slots of this request whose chunks have changed in the store."""
        changed = False
        for slot in np.flatnonzero(self._used == self._requests):
            owner = self._owners[slot]
            if owner and version(owner[1]) != owner[2]:
                owner[0][owner[1]] = 0
                self._owners[slot] = None
                self._used[slot] = 0
                changed = True
        return changed

    def _fill(
        self,
        table: NDArray[Any],
        absent: NDArray[Any],
        dtype: np.dtype[Any],
        load: Callable[[int, NDArray[Any]], None],
        version: Callable[[int], Hashable] | None,
    ) -> None:
        self._used[0] = self._requests
        free = np.argsort(self._used, kind="stable")[: len(absent)]
        if len(free) < len(absent) or self._used[free[-1]] == self._requests:
            raise ChunksDoNotFit(f"{len(absent)} chunks more are needed")
        for slot in free:
            if owner := self._owners[slot]:
                owner[0][owner[1]] = 0
            self._owners[slot] = None
        versions = [version(int(chunk)) if version else None for chunk in absent]  # before they are read
        slots = self._buffer.reshape(-1, self.slot_bytes)
        executor = ThreadPoolExecutor(min(THREADS, len(absent)))
        try:
            list(executor.map(lambda chunk, slot: load(int(chunk), slots[slot].view(dtype)), absent, free))
        finally:
            executor.shutdown(cancel_futures=True)
        for chunk, slot, known in zip(absent.tolist(), free, versions, strict=True):
            self._owners[slot] = (table, chunk, known)
        table[absent] = free
        self._used[free] = self._requests


def shared_chunk_cache(chunk_bytes: int) -> ChunkCache:
    """The cache of this process for chunks of a size, which is rounded up to a power of two.

    Each size has its own cache.  The limit of each is the environment variable ``MONAI_CPIC_CHUNK_CACHE`` in MiB, default 1024.
    """
    return _shared(1 << (chunk_bytes - 1).bit_length(), os.getpid())


@cache
def _shared(slot_bytes: int, process: int) -> ChunkCache:
    """One per process: a forked child uses neither the locks nor the chunks of its parent."""
    text = os.environ.get("MONAI_CPIC_CHUNK_CACHE") or str(DEFAULT_LIMIT)
    try:
        limit = float(text)
    except ValueError as error:
        raise ValueError(f"MONAI_CPIC_CHUNK_CACHE={text!r} is not a number of MiB") from error
    return ChunkCache(slot_bytes, int(limit * 2**20))
