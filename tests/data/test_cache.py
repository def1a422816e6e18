"""The cache folder: full disks, several processes, its size limit."""

from __future__ import annotations

import errno
import multiprocessing
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
import SimpleITK

from monai_cpic.data import open_volume
from monai_cpic.data.cache import limit as cache_limit
from monai_cpic.data.cache.unpacked import cached


@pytest.fixture
def packed(tmp_path: Path) -> list[Path]:
    """Five packed files."""
    paths = [tmp_path / f"{number}.gz" for number in range(5)]
    for number, path in enumerate(paths):
        path.write_bytes(bytes(number + 1))
    return paths


def write(folder: Path) -> None:
    (folder / "voxels").write_bytes(bytes(2**20))


def leftovers(cache: Path) -> list[str]:
    return [path.name for path in cache.iterdir() if path.name.startswith(".unfinished")]


def full(*_: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


# ---- a full disk ---------------------------------------------------------------------------------------------------------


def test_a_full_disk_leaves_nothing(packed: list[Path], tmp_path: Path) -> None:
    cache = tmp_path / "cache"

    def half(folder: Path) -> None:
        write(folder)
        full()

    with pytest.raises(OSError, match=r"unpacking .*0.gz: the disk of the cache folder is full.*cache") as caught:
        cached(packed[:1], cache, half)
    assert caught.value.errno == errno.ENOSPC
    assert not list(cache.iterdir())
    assert (cached(packed[:1], cache, write) / "voxels").exists()


def test_other_errors_pass(packed: list[Path], tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        raise PermissionError(errno.EACCES, "not yours")

    with pytest.raises(PermissionError, match="not yours"):
        cached(packed[:1], tmp_path / "cache", fail)


def test_slices_cut_short_by_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "scan").mkdir()
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(np.ones((8, 8), np.int16)), str(tmp_path / "scan" / "1.dcm"))
    monkeypatch.setattr("monai_cpic.data.readers.dicom.VOXELS", "/dev/full")
    with pytest.raises(OSError, match="cache folder is full"):
        open_volume(tmp_path / "scan", cache_dir=tmp_path / "cache")


# ---- several processes ---------------------------------------------------------------------------------------------------


def _unpack_slowly(path: Path, cache: Path, barrier: Any, queue: Any) -> None:
    def unpack(folder: Path) -> None:
        barrier.wait(30)  # both are at it
        write(folder)

    queue.put(str(cached([path], cache, unpack)))


@pytest.mark.parametrize("limit", [None, "1"])
def test_two_processes_unpack_the_same_file(
    packed: list[Path], tmp_path: Path, limit: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if limit:
        monkeypatch.setenv("MONAI_CPIC_CACHE_LIMIT", limit)
    context = multiprocessing.get_context("fork")
    barrier, queue = context.Barrier(2), context.Queue()
    arguments = (packed[0], tmp_path / "cache", barrier, queue)
    processes = [context.Process(target=_unpack_slowly, args=arguments) for _ in range(2)]
    for process in processes:
        process.start()
    found = {queue.get(timeout=30) for _ in processes}
    for process in processes:
        process.join(30)
        assert process.exitcode == 0
    assert len(found) == 1
    assert (Path(found.pop()) / "voxels").stat().st_size == 2**20
    assert not leftovers(tmp_path / "cache")


# ---- the limit -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def limited(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Room for three scans, and a process that has opened none."""
    runs: dict[tuple[Path, int], IO[str]] = {}
    monkeypatch.setenv("MONAI_CPIC_CACHE_LIMIT", str(3.5 / 1024))
    monkeypatch.setattr(cache_limit, "_runs", runs)
    yield
    for run in runs.values():
        run.close()


def scans(cache: Path) -> set[Path]:
    return {path for path in cache.iterdir() if not path.name.startswith(".")}


def _open_all(packed: list[Path], cache: Path) -> None:
    for path in packed:
        cached([path], cache, write)


def _elsewhere(packed: list[Path], cache: Path) -> None:
    """Open scans in a process that ends."""
    process = multiprocessing.get_context("fork").Process(target=_open_all, args=(packed, cache))
    process.start()
    process.join(30)
    assert process.exitcode == 0


def test_the_least_recently_opened_go(limited: None, packed: list[Path], tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    for path in packed[:3]:
        _elsewhere([path], cache)
    names = {path: target for path in packed[:3] for target in [cached_name(path, cache)]}
    for age, path in enumerate(packed[:3]):
        os.utime(names[path], (1000 + age, 1000 + age))
    _elsewhere(packed[:1], cache)  # opened again
    _elsewhere(packed[3:4], cache)
    assert scans(cache) == {names[packed[0]], names[packed[2]], cached_name(packed[3], cache)}
    assert not leftovers(cache)


def cached_name(path: Path, cache: Path) -> Path:
    """Where a scan is, without opening it."""
    before = os.environ.pop("MONAI_CPIC_CACHE_LIMIT")
    try:
        return cached([path], cache, write)
    finally:
        os.environ["MONAI_CPIC_CACHE_LIMIT"] = before


def test_scans_in_use_stay(limited: None, packed: list[Path], tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    kept = [cached([path], cache, write) for path in packed[:2]]
    _elsewhere(packed[2:3], cache)
    _elsewhere(packed[3:4], cache)  # replaces what the ended process had opened
    assert scans(cache) == {*kept, cached_name(packed[3], cache)}
    cached(packed[3:4], cache, write)
    with pytest.raises(OSError, match=r"exceed MONAI_CPIC_CACHE_LIMIT"):
        cached(packed[4:], cache, write)
    assert len(scans(cache)) == 3
    assert not leftovers(cache)


def test_a_limit_that_is_no_number(packed: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONAI_CPIC_CACHE_LIMIT", "20GB")
    with pytest.raises(ValueError, match="'20GB' is not a number of GiB"):
        cached(packed[:1], tmp_path, write)
