"""The cache folder: scans unpacked once, to be mapped from then on."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from monai_cpic.data.cache_limit import locked, make_room, note_use

__all__ = ["cached"]


def cached(files: Sequence[Path], cache_dir: str | Path | None, unpack: Callable[[Path], None], variant: str = "") -> Path:
    """The folder of unpacked files, made by ``unpack`` when it does not exist.

    A folder belongs to the names, sizes and modification times of the packed files.  It is written aside and renamed when it is
    complete, so a half-written one is never used, and of two processes that unpack the same scan the first to finish provides it.

    The environment variable ``MONAI_CPIC_CACHE_LIMIT`` (GiB; default: none) bounds the cache: the least recently opened scans
    make room for a new one, but none that a running process has opened.

    Args:
        files: the packed files.
        cache_dir: default: the environment variable ``MONAI_CPIC_CACHE``, else ``~/.cache/monai_cpic``.
        unpack: writes its files into the folder that it is given.
        variant: tells apart what is unpacked in different ways from the same files.

    Raises:
        OSError: if the disk or the cache is full.
    """
    folder = Path(cache_dir or os.environ.get("MONAI_CPIC_CACHE") or Path.home() / ".cache" / "monai_cpic")
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
    with tempfile.TemporaryDirectory(dir=folder, prefix=".unfinished-") as staging:
        content = Path(staging) / "scan"
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
                if not target.exists():  # else another process has finished in the meantime
                    raise
    return target
