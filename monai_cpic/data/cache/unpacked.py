"""The cache folder: scans that cannot be read at random are unpacked once, and mapped from then on."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from monai_cpic.data.cache.limit import locked, make_room, note_use
from monai_cpic.staging import staged

__all__ = ["cache_folder", "cached"]


def cache_folder(cache_dir: str | Path | None = None) -> Path:
    """The cache: ``cache_dir``, else the environment variable ``MONAI_CPIC_CACHE``, else ``~/.cache/monai_cpic``."""
    return Path(cache_dir or os.environ.get("MONAI_CPIC_CACHE") or Path.home() / ".cache" / "monai_cpic")


def cached(files: Sequence[Path], cache_dir: str | Path | None, unpack: Callable[[Path], None], variant: str = "") -> Path:
    """The folder of the unpacked content of some files; ``unpack`` makes it if it does not exist.

    The folder belongs to the names, sizes and modification times of the files: a file that changes is unpacked again.  It is
    complete or not there, and of two processes that unpack the same scan, the first to finish provides it to both.

    The environment variable ``MONAI_CPIC_CACHE_LIMIT`` (GiB; default: no limit) bounds the size of the cache: the least recently
    opened scans are removed for a new one, but none that a running process has opened.

    Args:
        files: the packed files.
        cache_dir: the cache; default: :func:`cache_folder`.
        unpack: writes its files into the empty folder that it is given.
        variant: distinguishes what is unpacked from the same files in different ways.

    Raises:
        OSError: if the disk or the cache is full.
    """
    folder = cache_folder(cache_dir)
    identity = hashlib.sha256(variant.encode())
    for file in files:
        status = file.stat()
        identity.update(f"{file.resolve()}|{status.st_size}|{status.st_mtime_ns}\n".encode())
    target = folder / identity.hexdigest()[:32]
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        note_use(target)
        if target.exists():
            return target
    with staged(target) as content:
        content.mkdir()
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
        with locked(folder):
            if not target.exists():
                make_room(folder, content)
            try:
                content.rename(target)
            except OSError:
                if not target.exists():  # otherwise another process has finished first
                    raise
    return target
