"""The size of the cache folder and its limit: which scans are removed for a new one.

Each process that opens scans under a limit lists them in a file of the cache folder.  The process and the workers that it forks
keep that file locked as long as they live; the system releases the lock when they end, in whatever way.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

__all__ = ["clear", "locked", "make_room", "note_use", "size"]

RUN = ".run-"
SCAN = re.compile("[0-9a-f]{32}")  # the name of a scan's folder
_runs: dict[tuple[Path, int], IO[str]] = {}  # the list of this process, for each cache folder
_listed: set[tuple[Path, int]] = set()  # the scans in it


def _limit() -> int | None:
    """The limit in bytes."""
    text = os.environ.get("MONAI_CPIC_CACHE_LIMIT")
    if not text:
        return None
    try:
        return int(float(text) * 2**30)
    except ValueError as error:
        raise ValueError(f"MONAI_CPIC_CACHE_LIMIT={text!r} is not a number of GiB") from error


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """A block that one process at a time executes, if the cache folder has a limit."""
    if _limit() is None:
        yield
        return
    import fcntl  # POSIX only; without a limit it is not needed

    with (folder / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def note_use(target: Path) -> None:
    """Record that this process uses a scan from now on until it ends."""
    if _limit() is None:
        return
    import fcntl

    if target.exists():
        os.utime(target)
    run = target.parent, os.getpid()
    if (target, os.getpid()) in _listed:
        return
    _listed.add((target, os.getpid()))
    if run not in _runs:
        number, _ = tempfile.mkstemp(dir=target.parent, prefix=RUN)
        fcntl.flock(number, fcntl.LOCK_EX)
        _runs[run] = os.fdopen(number, "w")
    _runs[run].write(target.name + "\n")
    _runs[run].flush()


def make_room(folder: Path, content: Path) -> None:
    """Remove scans that no process uses, the least recently opened first, until a new scan fits.

    Args:
        folder: the cache.
        content: the new scan, not in place yet.

    Raises:
        OSError: if the scans in use leave too little room.
    """
    limit = _limit()
    if limit is None:
        return
    used = _names_in_use(folder)
    scans = {path: _size(path) for path in _scans(folder)}
    excess = sum(scans.values()) + _size(content) - limit
    for path in sorted(scans, key=lambda scan: scan.stat().st_mtime_ns):
        if excess <= 0:
            return
        if path.name not in used:
            gone = path.rename(content.parent / path.name)  # at once: a half-removed scan must not be found
            shutil.rmtree(gone)
            excess -= scans[path]
    if excess > 0:
        raise OSError(
            errno.ENOSPC,
            f"the cache is full: the new scan and those in use exceed MONAI_CPIC_CACHE_LIMIT ({limit / 2**30:g} GiB) by "
            f"{excess / 2**30:.3g} GiB; raise it",
            str(folder),
        )


def size(folder: Path) -> int:
    """Bytes of the scans in a cache folder, which may be missing."""
    return sum(map(_size, _scans(folder)))


def clear(folder: Path) -> int:
    """Remove the scans in a cache folder, except those that a process uses under a limit; nothing else may be using it.

    Returns:
        The number of bytes.
    """
    used = _names_in_use(folder)
    before = size(folder)
    for path in _scans(folder):
        if path.name not in used:
            shutil.rmtree(path)
    return before - size(folder)


def _scans(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*") if SCAN.fullmatch(path.name) and path.is_dir()]


def _names_in_use(folder: Path) -> set[str]:
    names: set[str] = set()
    lists = list(folder.glob(RUN + "*"))
    if not lists:
        return names
    import fcntl

    for path in lists:
        with path.open("r+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                names.update(file.read().split())
            else:
                path.unlink()  # its process has ended
    return names


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
