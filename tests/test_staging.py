"""Files and folders are complete or not there."""

from __future__ import annotations

import errno
import fcntl
import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from monai_cpic import staging
from monai_cpic.staging import remove_unfinished, staged, write_whole


def test_an_error_leaves_the_older_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "new" / "file.txt"
    with write_whole(target) as path:
        path.write_text("first")
    with pytest.raises(RuntimeError), write_whole(target) as path:
        path.write_text("second, interrupted")
        raise RuntimeError
    assert target.read_text() == "first"
    assert list(target.parent.iterdir()) == [target]


def test_a_folder_takes_the_place_of_an_empty_one(tmp_path: Path) -> None:
    target = tmp_path / "cohort"
    target.mkdir()
    with write_whole(target) as path:
        path.mkdir()
        (path / "table.csv").write_text("a")
    assert [file.name for file in target.iterdir()] == ["table.csv"]


def test_what_is_staged_and_not_renamed_is_removed(tmp_path: Path) -> None:
    with staged(tmp_path / "scan") as path:
        path.mkdir()
    assert not list(tmp_path.iterdir())


def test_what_is_renamed_is_on_the_disk_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(staging, "_sync", synced.append)
    target = tmp_path / "cohort"
    with write_whole(target) as path:
        path.mkdir()
        (path / "table.csv").write_text("a")
        assert not synced
    assert [file.name for file in synced] == ["cohort", "table.csv", tmp_path.name]


# ---- what killed processes leave -----------------------------------------------------------------------------------------


def _hold(target: Path, ready: Any) -> None:
    with staged(target) as path:
        path.write_text("half")
        ready.set()
        signal.pause()


def _preparing(target: Path) -> Any:
    """A process that is in the middle of writing."""
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    process = context.Process(target=_hold, args=(target, ready))
    process.start()
    assert ready.wait(30)
    return process


def test_only_what_no_living_process_holds_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".unfinished-of an older version").mkdir()
    (tmp_path / "kept").touch()
    dead, alive = _preparing(tmp_path / "a"), _preparing(tmp_path / "b")
    dead.kill()
    dead.join()
    remove_unfinished(tmp_path)
    (left,) = tmp_path.glob(".unfinished-*/*")
    assert left.name == "b" and left.read_text() == "half"
    alive.kill()
    alive.join()
    remove_unfinished(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_a_lock_that_was_removed_before_it_was_taken_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flock, calls = fcntl.flock, []

    def swept(file: Any, how: int) -> None:
        calls.append(how)
        if len(calls) == 1:  # between the making of the lock and this line
            remove_unfinished(tmp_path)
        flock(file, how)

    monkeypatch.setattr(fcntl, "flock", swept)
    with write_whole(tmp_path / "file") as path:
        path.write_text("whole")
    assert len(calls) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_nothing_is_removed_where_there_are_no_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(file: Any, how: int) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", missing)
    with write_whole(tmp_path / "file") as path:
        path.write_text("whole")
        remove_unfinished(tmp_path)
    assert (tmp_path / "file").read_text() == "whole"
