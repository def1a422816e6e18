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

__all__ = ["announce", "missing"]

PROBES = 16  # places that are looked up: some microseconds


def missing(path: str, positions: NDArray) -> bool:
    """Whether any of a few bytes of a file is not in the system's cache; False where the system cannot tell.

    Args:
        path: the file.
        positions: of bytes, int64 ``[N]``, of which a few are looked up.
    """
    if not hasattr(os, "RWF_NOWAIT"):
        return False
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


def announce(mapped: mmap.mmap, positions: NDArray) -> None:
    """Announce the pages of some bytes.

    Args:
        mapped: a file.
        positions: of bytes from the start of the map, int64 of any shape, not empty.
    """
    pages = np.unique(positions // mmap.PAGESIZE)
    last = np.flatnonzero(np.diff(pages, append=-1) != 1)  # of each run of neighbours
    first = np.append(0, last[:-1] + 1)
    starts, ends = pages[first] * mmap.PAGESIZE, np.minimum((pages[last] + 1) * mmap.PAGESIZE, len(mapped))
    for start, length in zip(starts.tolist(), (ends - starts).tolist(), strict=True):
        mapped.madvise(mmap.MADV_WILLNEED, start, length)
