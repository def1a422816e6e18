"""Eight processes that unpack the same scans at the same time, into a cache that holds half of them."""

from __future__ import annotations

import multiprocessing
import random
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch

from monai_cpic.data import open_volume

PROCESSES, SCANS, EDGE = 8, 8, 32
CENTRE = torch.full((1, 3), EDGE // 2)


def values(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 99, (EDGE,) * 3).astype("<i2")


def _read(folder: Path, process: int, barrier: Any, queue: Any) -> None:
    """Open all scans in an order of its own, and count those that were right and those for which there was no room."""
    order, counts = random.Random(process).sample(range(SCANS), SCANS), {"right": 0, "full": 0}
    barrier.wait(60)
    for number in order:
        try:
            found = open_volume(folder / f"{number}.nii.gz", cache_dir=folder / "cache").gather(CENTRE, EDGE)[0, 0].numpy()
        except OSError as error:
            assert "the cache is full" in str(error) and "MONAI_CPIC_CACHE_LIMIT" in str(error)
            counts["full"] += 1
        else:
            np.testing.assert_array_equal(found, values(number))
            counts["right"] += 1
    queue.put(counts)
    barrier.wait(60)  # what it has opened stays in use until all are done


def _run(folder: Path, processes: range) -> list[dict[str, int]]:
    context = multiprocessing.get_context("fork")
    barrier, queue = context.Barrier(len(processes)), context.Queue()
    running = [context.Process(target=_read, args=(folder, number, barrier, queue)) for number in processes]
    for process in running:
        process.start()
    counts = [queue.get(timeout=120) for _ in running]
    for process in running:
        process.join(60)
        assert process.exitcode == 0
    return counts


def test_all_voxels_are_right_or_the_cache_is_said_to_be_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(SCANS):
        nibabel.save(nibabel.Nifti1Image(values(number), np.eye(4)), tmp_path / f"{number}.nii.gz")
    monkeypatch.setenv("MONAI_CPIC_CACHE_LIMIT", str(SCANS // 2 * (EDGE**3 * 2 + 1000) / 2**30))
    counts = _run(tmp_path, range(PROCESSES))
    assert all(count["right"] + count["full"] == SCANS and count["right"] for count in counts)
    assert any(count["full"] for count in counts)
    (alone,) = _run(tmp_path, range(PROCESSES, PROCESSES + 1))  # nobody else uses what is there
    assert alone["right"] >= SCANS // 2
    assert not list((tmp_path / "cache").glob(".unfinished-*"))
    assert len(list((tmp_path / "cache").glob("[!.]*"))) <= SCANS // 2
