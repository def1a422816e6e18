"""Files and folders that are complete or not there: written aside, then renamed."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

__all__ = ["remove_unfinished", "staged", "write_whole"]

_PREFIX = ".unfinished-"


@contextlib.contextmanager
def staged(target: Path) -> Iterator[Path]:
    """A path on the same disk as ``target`` and of the same name, where a file or folder can be prepared.

    What is there when the block ends is removed: rename it before.  Missing folders above the target are made.

    Args:
        target: the file or folder that will be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=_PREFIX) as folder:
        yield Path(folder) / target.name


@contextlib.contextmanager
def write_whole(target: Path) -> Iterator[Path]:
    """A path to write to, which takes the place of ``target`` when the block ends without an error.

    Nobody sees half a file, and an older one stays if writing fails.

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
        unfinished.replace(target)


def remove_unfinished(folder: Path) -> None:
    """Remove what killed processes were preparing in a folder; nobody may be writing there.

    Args:
        folder: the folder of the targets.
    """
    for unfinished in folder.glob(f"{_PREFIX}*"):
        shutil.rmtree(unfinished)
