"""Announcing pages: which ones, and that the values are those of the file."""

from __future__ import annotations

import mmap
import os
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from monai_cpic.data import Sampling, open_volume
from monai_cpic.data.sources import mapped
from monai_cpic.data.sources.readahead import announce, missing

PAGE = mmap.PAGESIZE


class Map:
    """A map of some pages that remembers what is announced."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.announced: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return self.length

    def madvise(self, option: int, start: int, length: int) -> None:
        assert option == mmap.MADV_WILLNEED
        assert start % PAGE == 0
        assert 0 < length <= self.length - start
        self.announced.append((start, length))


@given(st.lists(st.integers(0, 10 * PAGE + 4), min_size=1))
def test_every_page_once_and_no_other(positions: list[int]) -> None:
    mapped = Map(10 * PAGE + 5)  # its last page is not full
    announce(mapped, np.array(positions))  # type: ignore[arg-type]  # Map stands in for an mmap, which cannot be watched
    pages = [page for start, length in mapped.announced for page in range(start // PAGE, -(-(start + length) // PAGE))]
    assert pages == sorted({position // PAGE for position in positions})


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="needs posix_fadvise")
@pytest.mark.parametrize("order", ["C", "F"])
def test_values_of_a_file_in_no_cache(tmp_path: Path, order: Literal["C", "F"], monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[bool] = []

    def answered(path: str, positions: NDArray[Any]) -> bool:
        answers.append(missing(path, positions))
        return answers[-1]

    monkeypatch.setattr(mapped, "missing", answered)
    values = np.asarray(np.random.default_rng(0).integers(0, 1000, (2, 40, 50, 60), np.int16), order=order)
    np.save(tmp_path / "scan.npy", values)
    with (tmp_path / "scan.npy").open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    volume = open_volume(tmp_path / "scan.npy")
    centres = torch.randint(-5, 60, (100, 3))
    assert torch.equal(volume.gather(centres, (5, 4, 3)), open_volume(values).gather(centres, (5, 4, 3)))
    assert volume.gather(centres[:0], 3).shape == (0, 2, 3, 3, 3)
    shift = np.eye(4)
    shift[:3, 3] = 2
    within, beyond = torch.full((1, 3), 10), torch.zeros(1, 3, dtype=torch.int64)  # of a crop, which is read in two parts
    for asked in (within, beyond, torch.cat([within, beyond])):
        crops = [open_volume(stored).sampled(Sampling(shift, (20, 20, 20))) for stored in (tmp_path / "scan.npy", values)]
        assert torch.equal(crops[0].gather(asked, 3), crops[1].gather(asked, 3))
    assert answers  # what they are depends on the file system


def test_a_map_that_begins_late_in_its_file(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 1000, (1, 30, 40, 50), np.int16)
    offset = 3 * mmap.ALLOCATIONGRANULARITY + 8
    (tmp_path / "raw").write_bytes(bytes(offset) + values.tobytes())
    late = mapped.MappedSource(str(tmp_path / "raw"), "<i2", values.shape, (0, 1, 2, 3), offset)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mapped, "missing", lambda path, positions: True)
        blocks = late.blocks(np.array([[26, 35, 46]]), (3, 4, 3))
    np.testing.assert_array_equal(blocks[:, 0], values[:, 26:29, 35:39, 46:49])


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="the system does not say what is mapped")
def test_pages_of_the_files_used_last_stay_mapped_up_to_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [tmp_path / f"{number}.npy" for number in range(3)]
    for path in paths:
        np.save(path, np.zeros((1, 64, 64, 64), np.uint8))
    monkeypatch.setattr(mapped, "KEPT", sum(path.stat().st_size for path in paths[:2]))
    for path in paths:
        open_volume(path).gather(torch.full((1, 3), 32), 64)
    assert [resident(path) > 0 for path in paths] == [False, True, True]


def test_threads_read_and_release_at_the_same_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [tmp_path / f"{number}.npy" for number in range(9)]
    for path in paths:
        np.save(path, np.ones((1, 8, 8, 8), np.uint8))
    monkeypatch.setattr(mapped, "KEPT", 2 * paths[0].stat().st_size)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            volumes = [open_volume(path) for path in paths * 60]
            assert all(patch.eq(1).all() for patch in pool.map(lambda volume: volume.gather(torch.full((1, 3), 4), 3), volumes))
    finally:
        sys.setswitchinterval(interval)


def resident(path: Path) -> int:
    """KiB of a file that are mapped in this process."""
    entries = re.findall(rf"{re.escape(str(path))}\n(?:.*\n)*?Rss: +(\d+) kB", Path("/proc/self/smaps").read_text())
    return sum(int(entry) for entry in entries)
