"""Files and folders that are complete or not there: written aside, then renamed."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

__all__ = ["remove_unfinished", "staged", "sync", "write_whole"]

_PREFIX, _LOCK = ".unfinished-", ".lock"


@contextlib.contextmanager
def staged(target: Path) -> Iterator[Path]:
    """A path on the same disk as ``target`` and of the same name, where a file or folder can be prepared.

    What is there when the block ends is removed: :func:`sync` and rename it before.  Missing folders above the target are made.

    Args:
        target: the file or folder that will be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with _held(target.parent) as lock:
        folder = lock.with_suffix("")
        folder.mkdir(mode=0o700)
        try:
            yield folder / target.name
        finally:
            shutil.rmtree(folder)


@contextlib.contextmanager
def write_whole(target: Path) -> Iterator[Path]:
    """A path to write to, which takes the place of ``target`` when the block ends without an error.

    Nobody sees half a file, and an older one stays if writing fails, even if the power fails.

    Args:
        target: a file, or a folder that does not exist or is empty.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with write_whole(Path(folder) / "scores.txt") as path:
        ...         _ = path.write_text("0.93")
        ...     (Path(folder) / "scores.txt").read_text()
        '0.93'
    """
    with staged(target) as unfinished:
        yield unfinished
        sync(unfinished)
        unfinished.replace(target)
        _sync(target.parent)


def sync(path: Path) -> None:
    """Wait until a file, or a folder with all that it holds, is on the disk: only then is a rename final.

    Args:
        path: the file or folder.
    """
    for each in [path, *path.rglob("*")]:
        _sync(each)


def remove_unfinished(folder: Path) -> None:
    """Remove what killed processes were preparing in a folder.  What a living process prepares there stays.

    A process, and those that it forks, keep a lock file beside what they prepare; the system releases the lock when they end, in
    whatever way.  Where there are no such locks (Windows, some network disks), nothing is removed.

    Args:
        folder: the folder of the targets; it may be missing.
    """
    for path in folder.glob(f"{_PREFIX}*") if os.name == "posix" else ():
        if path.suffix != _LOCK:
            if not path.with_name(path.name + _LOCK).exists():  # the lock is made first and removed last
                shutil.rmtree(path, ignore_errors=True)
            continue
        try:
            lock = path.open("r+")
        except (FileNotFoundError, PermissionError):  # it has just ended, or belongs to another user
            continue
        with lock:
            if _lock(lock, wait=False):
                shutil.rmtree(path.with_suffix(""), ignore_errors=True)
                path.unlink(missing_ok=True)


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[Path]:
    """A new lock file that this process holds."""
    while True:
        number, name = tempfile.mkstemp(dir=folder, prefix=_PREFIX, suffix=_LOCK)
        lock = os.fdopen(number, "w")
        _lock(lock, wait=True)
        if os.fstat(number).st_nlink:
            break
        lock.close()  # it was removed before it was locked
    try:
        yield Path(name)
    finally:
        lock.close()
        Path(name).unlink(missing_ok=True)  # by now nothing is prepared, and another process may have removed it


def _lock(file: IO[Any], wait: bool) -> bool:
    """Lock a file until it is closed; False if another process holds it, or the disk has no locks."""
    if os.name == "posix":
        import fcntl

        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError:
            return False
    return True


def _sync(path: Path) -> None:
    """Wait until the content of a file, or the names in a folder, are on the disk."""
    if os.name == "posix":
        number = os.open(path, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
