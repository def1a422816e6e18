"""Asking the system for many scattered pages of a mapped file at once.

Reading a page that is not in the system's cache waits for the disk, one page after the other.  When a sample of the places shows
that pages are missing, all of them are announced first, and the disk serves them together: ten times faster for the cubes of a
cross-approximation.  Where the system cannot tell (other than Linux, some network file systems) nothing is announced.
"""

from __future__ import annotations

import mmap
import os

import numpy as np
from numpy.typing import NDArray

__all__ = ["read_ahead"]

PROBES = 16  # places that are looked up: some microseconds


def read_ahead(path: str, mapped: mmap.mmap, origin: int, positions: NDArray) -> None:
    """Announce the pages of some bytes, if any are missing.

    Args:
        path: the file.
        mapped: it, to its end.
        origin: where the map begins in the file: a multiple of the page size.
        positions: bytes from the start of the file, int64 of any shape, not empty.
    """
    if not hasattr(os, "RWF_NOWAIT") or not _missing(path, positions.reshape(-1)):
        return
    pages = np.unique((positions - origin) // mmap.PAGESIZE)
    last = np.flatnonzero(np.diff(pages, append=-1) != 1)  # of each run of neighbours
    first = np.append(0, last[:-1] + 1)
    starts, ends = pages[first] * mmap.PAGESIZE, np.minimum((pages[last] + 1) * mmap.PAGESIZE, len(mapped))
    for start, length in zip(starts.tolist(), (ends - starts).tolist(), strict=True):
        mapped.madvise(mmap.MADV_WILLNEED, start, length)


def _missing(path: str, positions: NDArray) -> bool:
    """Whether any of a few bytes, spread over all, is not in the system's cache."""
    file = os.open(path, os.O_RDONLY)
    try:
        for position in positions[:: max(1, len(positions) // PROBES)].tolist():
            os.preadv(file, [bytearray(1)], position, os.RWF_NOWAIT)
    except BlockingIOError:
        return True
    except OSError:  # the file system does not know the question
        return False
    finally:
        os.close(file)
    return False
