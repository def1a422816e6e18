"""Who may read the cache, and what it must hold to be believed."""

from __future__ import annotations

import gzip
import json
import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
import torch

from monai_cpic.data import open_volume
from monai_cpic.data.cache.unpacked import cached


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "new" / "cache"


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    (tmp_path / "scan.gz").write_bytes(b"packed")
    return tmp_path / "scan.gz"


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    """A file that is unpacked by way of a header."""
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(np.ones((4, 5, 6), np.int16)), str(tmp_path / "scan.nrrd"))
    return tmp_path / "scan.nrrd"


def write(folder: Path) -> None:
    (folder / "voxels").write_bytes(bytes(100))


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_only_its_user_can_read_it(packed: Path, cache: Path) -> None:
    before = os.umask(0)
    try:
        entry = cached([packed], cache, write)
    finally:
        os.umask(before)
    assert [mode(path) for path in (cache, entry, entry / "voxels")] == [0o700, 0o700, 0o600]


def test_a_folder_that_exists_keeps_its_permissions(packed: Path, cache: Path) -> None:
    cache.mkdir(parents=True)
    cache.chmod(0o755)
    cached([packed], cache, write)
    assert mode(cache) == 0o755


@pytest.mark.parametrize("case", ["owner", "writable", "link", "file"])
def test_what_another_user_may_have_put_there_is_refused(
    packed: Path, cache: Path, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = cached([packed], cache, write)
    if case == "owner":
        monkeypatch.setattr(os, "geteuid", lambda: entry.stat().st_uid + 1)
    elif case == "writable":
        entry.chmod(0o777)
    else:
        moved = entry.rename(cache.parent / "elsewhere")
        if case == "link":
            entry.symlink_to(moved)
        else:
            entry.touch()
    with pytest.raises(PermissionError, match="belongs to another user, or others may write to it: remove it") as error:
        cached([packed], cache, write)
    assert str(entry) in str(error.value)


def _planted(scan: Path, cache: Path, **changes: Any) -> None:
    (header,) = cache.glob("*/header.json")
    header.write_text(json.dumps({**json.loads(header.read_text()), **changes}))


@pytest.mark.parametrize(
    "changes",
    [
        {"dtype": "O"},
        {"dtype": "|O8"},
        {"dtype": "V2"},
        {"dtype": "<c8"},
        {"dtype": "nonsense"},
        {"dtype": "u1"},
        {"dtype": "<f8"},
        {"shape": [4, 5, 3, 1]},
        {"shape": [4, 5, 60, 1]},
        {"shape": [-4, 5, -6, 1]},
        {"shape": [4.5, 5, 6, 1]},
        {"shape": "many"},
        {"shape": []},
    ],
    ids=str,
)
def test_voxels_that_their_header_does_not_allow_are_refused(scan: Path, cache: Path, changes: dict[str, Any]) -> None:
    open_volume(scan, cache_dir=cache)
    _planted(scan, cache, **changes)
    (entry,) = cache.iterdir()
    with pytest.raises(ValueError, match="remove this folder") as error:
        open_volume(scan, cache_dir=cache)
    assert str(entry) in str(error.value)


@pytest.mark.parametrize("damage", ["header", "voxels"])
def test_damaged_entries_are_named(scan: Path, cache: Path, damage: str) -> None:
    open_volume(scan, cache_dir=cache)
    (file,) = cache.glob("*/header.json" if damage == "header" else "*/voxels.raw")
    os.truncate(file, 10)
    with pytest.raises(ValueError, match="remove this folder") as error:
        open_volume(scan, cache_dir=cache)
    assert str(file.parent) in str(error.value)


def test_a_file_that_changes_while_it_is_unpacked_is_not_kept(packed: Path, cache: Path) -> None:
    def overtaken(folder: Path) -> None:
        write(folder)
        packed.write_bytes(b"packed anew")

    with pytest.raises(ValueError, match=r"scan\.gz has changed while it was unpacked"):
        cached([packed], cache, overtaken)
    assert not list(cache.iterdir())


def _unpack_until_killed(packed: Path, cache: Path, ready: Any) -> None:
    def half(folder: Path) -> None:
        write(folder)
        ready.set()
        signal.pause()

    cached([packed], cache, half)


def test_what_killed_processes_left_is_removed(packed: Path, cache: Path) -> None:
    context = multiprocessing.get_context("fork")
    for _ in range(3):
        ready = context.Event()
        process = context.Process(target=_unpack_until_killed, args=(packed, cache, ready))
        process.start()
        assert ready.wait(30)
        process.kill()
        process.join()
    assert list(cache.glob(".unfinished-*"))
    entry = cached([packed], cache, write)
    assert not list(cache.glob(".unfinished-*")) and entry.exists()


def test_an_unpacked_nifti_file_of_objects_is_refused(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "scan.nii.gz"
    path.write_bytes(gzip.compress(bytes(400)))
    with pytest.raises(ValueError, match=str(path)):
        open_volume(path, cache_dir=cache)


def test_an_untouched_entry_is_believed(scan: Path, cache: Path) -> None:
    for _ in range(2):
        assert open_volume(scan, cache_dir=cache).gather(torch.tensor([[1, 1, 1]]), 1).item() == 1
