"""Decoded chunks of OME-Zarr: other processes, and the cache that keeps the last ones."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ome_zarr import VALUES, write

from monai_cpic.data import open_volume
from monai_cpic.data.cache.chunks import ChunkCache, ChunksDoNotFit
from monai_cpic.data.readers import zarr_source


def _sum(volume: Any, queue: Any) -> None:
    queue.put(volume.gather(torch.tensor([[12, 15, 10]]), 20).sum().item())


def test_a_spawned_process_reads(tmp_path: Path) -> None:
    volume = open_volume(write(str(tmp_path / "scan")))
    expected = volume.gather(torch.tensor([[12, 15, 10]]), 20).sum().item()
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=_sum, args=(volume, queue))
    process.start()
    try:
        assert queue.get(timeout=120) == expected
    finally:
        process.kill()
        process.join()


# ---- the cache -----------------------------------------------------------------------------------------------------------


def test_chunks_are_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    volume = open_volume(write(str(tmp_path / "scan")))
    centres = torch.randint(0, 20, (50, 3))
    first = volume.gather(centres, 5)
    monkeypatch.setattr(zarr_source._Opened, "load", None)  # would fail if it were called
    assert torch.equal(volume.gather(centres, 5), first)


def test_a_small_cache_reads_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = ChunkCache(1024, 9 * 1024)
    monkeypatch.setattr(zarr_source, "shared_chunk_cache", lambda size: cache)
    volume = open_volume(write(str(tmp_path / "scan")))
    centres = torch.randint(-5, 30, (200, 3))
    assert torch.equal(volume.gather(centres, 5), open_volume(VALUES.transpose(0, 3, 2, 1)).gather(centres, 5))
    with pytest.raises(ValueError, match=r"scan: a patch touches more chunks .*MONAI_CPIC_CHUNK_CACHE"):
        volume.gather(torch.tensor([[12, 12, 12]]), 20)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(0, 19), min_size=1, max_size=5), max_size=12))
def test_the_least_recently_used_are_replaced(requests: list[list[int]]) -> None:
    cache, table = ChunkCache(16, 6 * 16), np.zeros(20, np.int32)
    recent: list[set[int]] = []
    loaded: list[int] = []

    def load(chunk: int, voxels: np.ndarray) -> None:
        loaded.append(chunk)
        voxels[:] = 10 * chunk + np.arange(len(voxels))

    for chunks in requests:
        loaded.clear()
        offsets = np.arange(len(chunks)) % 8
        found = cache.read(table, np.array(chunks), offsets, np.dtype("i2"), load)
        np.testing.assert_array_equal(found, 10 * np.array(chunks) + offsets)
        assert not set(loaded) & set(recent[-1:][0] if recent else [])
        recent.append(set(chunks))
        assert {int(chunk) for chunk in np.flatnonzero(table)} >= set(chunks)
        assert np.count_nonzero(table) <= 6


def test_a_failed_request_leaves_the_cache_usable() -> None:
    cache, table = ChunkCache(16, 2 * 16), np.zeros(9, np.int32)

    def load(chunk: int, voxels: np.ndarray) -> None:
        if chunk == 3:
            raise ValueError("no")
        voxels[:] = chunk

    def read(*chunks: int) -> list[int]:
        return cache.read(table, np.array(chunks), np.zeros(len(chunks), np.int64), np.dtype("i2"), load).tolist()

    assert read(1, 2) == [1, 2]
    with pytest.raises(ValueError, match="no"):
        read(2, 3)
    with pytest.raises(ChunksDoNotFit):
        read(4, 5, 6)
    assert read(1, 2) == [1, 2]
    assert read(7, 8) == [7, 8]
