"""Decoded chunks of chunked volumes, kept in memory up to a limit and read by one index."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["ChunkCache", "ChunksDoNotFit", "shared_chunk_cache"]

DEFAULT_LIMIT = 1024  # MiB
THREADS = 8  # decoding waits for disk or network


class ChunksDoNotFit(Exception):
    """One request touches more chunks than the cache can hold."""


class ChunkCache:
    """Slots of one size for decoded chunks of any volumes; the least recently used ones are replaced.

    Chunks lie in one buffer, so any set of voxels is read by a single index into it: a table per volume gives the slot of each
    chunk, from 1, or 0 for a chunk that is not here.  Memory is taken when slots are filled for the first time.

    Args:
        slot_bytes: size of a slot.
        limit: bytes in all.
    """

    def __init__(self, slot_bytes: int, limit: int) -> None:
        slots = limit // slot_bytes + 1  # slot 0 stays empty
        self.slot_bytes = slot_bytes
        self._buffer = np.empty(slots * slot_bytes, np.uint8)
        self._used = np.zeros(slots, np.int64)  # the number of the last request
        self._owners: list[tuple[NDArray, int] | None] = [None] * slots
        self._requests = 0
        self._lock = threading.Lock()

    def read(
        self, table: NDArray, chunks: NDArray, offsets: NDArray, dtype: np.dtype, load: Callable[[int, NDArray], None]
    ) -> NDArray:
        """Voxels by the chunk and the place within it.

        Args:
            table: int32, of one volume: slot per chunk, 0 at first; it is kept up to date here.
            chunks: numbers of chunks, int64 ``[...]``.
            offsets: voxels within the chunk, int64 ``[...]``.
            dtype: of the voxels.
            load: fills the given voxels with those of a chunk; called in several threads for the chunks that are not here.

        Raises:
            ChunksDoNotFit: if there are more of them than slots.
        """
        with self._lock:
            self._requests += 1
            slots = table[chunks]
            self._used[slots] = self._requests
            absent = np.unique(chunks[slots == 0])
            if len(absent):
                self._fill(table, absent, dtype, load)
                slots = table[chunks]
            places = slots * np.int64(self.slot_bytes // dtype.itemsize)
            places += offsets
            return self._buffer.view(dtype).take(places)

    def _fill(self, table: NDArray, absent: NDArray, dtype: np.dtype, load: Callable[[int, NDArray], None]) -> None:
        self._used[0] = self._requests
        free = np.argsort(self._used, kind="stable")[: len(absent)]
        if len(free) < len(absent) or self._used[free[-1]] == self._requests:
            raise ChunksDoNotFit(f"{len(absent)} chunks more are needed")
        for slot in free:
            if owner := self._owners[slot]:
                owner[0][owner[1]] = 0
            self._owners[slot] = None
        slots = self._buffer.reshape(-1, self.slot_bytes)
        executor = ThreadPoolExecutor(min(THREADS, len(absent)))
        try:
            list(executor.map(lambda chunk, slot: load(int(chunk), slots[slot].view(dtype)), absent, free))
        finally:
            executor.shutdown(cancel_futures=True)
        for chunk, slot in zip(absent, free, strict=True):
            self._owners[slot] = (table, chunk)
        table[absent] = free
        self._used[free] = self._requests


def shared_chunk_cache(chunk_bytes: int) -> ChunkCache:
    """The cache of this process for chunks of a size, rounded up to a power of two.

    Its limit is the environment variable ``MONAI_CPIC_CHUNK_CACHE`` in MiB, 1024 if it is not set; each size has a cache of its
    own.
    """
    return _shared(1 << (chunk_bytes - 1).bit_length(), os.getpid())


@cache
def _shared(slot_bytes: int, process: int) -> ChunkCache:
    """One per process: a child inherits neither locks nor the parent's copy."""
    return ChunkCache(slot_bytes, int(float(os.environ.get("MONAI_CPIC_CHUNK_CACHE", DEFAULT_LIMIT)) * 2**20))
