"""The cache folder: scans that cannot be read at random are unpacked once, and mapped from then on."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

from monai_cpic.data.cache.limit import locked, make_room, note_use
from monai_cpic.staging import remove_unfinished, staged, sync

__all__ = ["cache_folder", "cached"]


def cache_folder(cache_dir: str | Path | None = None) -> Path:
    """The cache: ``cache_dir``, else the environment variable ``MONAI_CPIC_CACHE``, else ``~/.cache/monai_cpic``."""
    return Path(cache_dir or os.environ.get("MONAI_CPIC_CACHE") or Path.home() / ".cache" / "monai_cpic")


def cached(files: Sequence[Path], cache_dir: str | Path | None, unpack: Callable[[Path], None], variant: str = "") -> Path:
    """The folder of the unpacked content of some files; ``unpack`` makes it if it does not exist.

    The folder belongs to the names, sizes and modification times of the files: a file that changes is unpacked again.  It is
    complete or not there, and of two processes that unpack the same scan, the first to finish provides it to both.  What killed
    processes left unfinished is removed.  Only the user who made the folder can read it.

    The environment variable ``MONAI_CPIC_CACHE_LIMIT`` (GiB; default: no limit) bounds the size of the cache: the least recently
    opened scans are removed for a new one, but none that a running process has opened.

    Args:
        files: the packed files.
        cache_dir: the cache; default: :func:`cache_folder`.
        unpack: writes its files into the empty folder that it is given.
        variant: distinguishes what is unpacked from the same files in different ways.

    Raises:
        ValueError: if a file changes in the meantime.
        OSError: if the disk or the cache is full.
        PermissionError: if what is there could have been written by another user.
    """
    folder = cache_folder(cache_dir)
    identity = _identity(files, variant)
    target = folder / identity
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    with locked(folder):
        note_use(target)
        if _is_ours(target):
            return target
    remove_unfinished(folder)
    with staged(target) as content:
        content.mkdir(mode=0o700)
        try:
            unpack(content)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise OSError(
                errno.ENOSPC,
                f"unpacking {files[0] if files else target}: the disk of the cache folder is full "
                f"({shutil.disk_usage(folder).free} bytes are free); "
                "free some, set MONAI_CPIC_CACHE_LIMIT (GiB), or name a folder on a larger disk by MONAI_CPIC_CACHE",
                str(folder),
            ) from error
        if _identity(files, variant) != identity:
            raise ValueError(f"{files[0]} has changed while it was unpacked; open it again when it is complete")
        newest = max((file.stat().st_mtime_ns for file in files), default=0)
        for file in content.iterdir():
            file.chmod(0o600)
            os.utime(file, ns=(newest, newest))  # the same, however often the scan is unpacked: it is the same file
        sync(content)
        with locked(folder):
            if not target.exists():
                make_room(folder, content)
            try:
                content.rename(target)
            except OSError:
                if not _is_ours(target):  # otherwise another process has finished first
                    raise
    return target


def _identity(files: Sequence[Path], variant: str) -> str:
    identity = hashlib.sha256(variant.encode())
    for file in files:
        status = file.stat()
        identity.update(f"{file.resolve()}|{status.st_size}|{status.st_mtime_ns}\n".encode())
    return identity.hexdigest()[:32]


def _is_ours(target: Path) -> bool:
    """Whether a scan is in the cache; refuses one that another user may have put or changed there."""
    try:
        status = target.lstat()
    except FileNotFoundError:
        return False
    foreign = os.name == "posix" and status.st_uid != os.geteuid()
    if foreign or not stat.S_ISDIR(status.st_mode) or status.st_mode & stat.S_IWOTH:
        reason = (
            "it belongs to another user, or others may write to it: remove it, or name a cache of your own by MONAI_CPIC_CACHE"
        )
        raise PermissionError(errno.EACCES, reason, str(target))
    return True
