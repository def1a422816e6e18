"""Making levels of a pyramid: in memory, or in a file of the cache folder."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from monai_cpic.data.cache.unpacked import cached
from monai_cpic.data.pyramid.averaging import slabs
from monai_cpic.data.pyramid.centres import centres
from monai_cpic.data.pyramid.geometry import level_shape
from monai_cpic.data.sources.array import ArraySource
from monai_cpic.data.sources.base import Source
from monai_cpic.data.sources.mapped import MappedSource

__all__ = ["AVERAGED", "in_cache", "in_memory"]

AVERAGED = 2**34  # voxels: larger volumes are not read whole; of each block they give the voxel at the centre
LEVEL = "level.raw"


def in_memory(source: Source, factors: tuple[int, ...]) -> Source:
    """A level of a source, averaged and kept in memory.

    Args:
        source: a volume of up to :data:`AVERAGED` voxels; of larger ones the voxels at the centres of the blocks are read.
        factors: edges of the blocks.
    """
    if math.prod(source.shape) > AVERAGED:
        return centres(source, factors)
    return ArraySource(np.concatenate(list(slabs(source, factors, range(len(factors)))), 1))


def in_cache(
    source: Source,
    factors: tuple[int, ...],
    order: Sequence[int],
    files: Sequence[Path],
    *,
    cache_dir: str | None = None,
    chunks: Sequence[int] | None = None,
) -> Source:
    """A level of a source, averaged once and kept in the cache folder, from where it is mapped.

    Args:
        source: see :func:`in_memory`; its ``repr`` tells it from other sources of the same files.
        factors: edges of the blocks.
        order: see :func:`~monai_cpic.data.pyramid.averaging.slabs`.
        files: of the scan; the level is averaged again when one of them has changed.
        cache_dir: see :func:`~monai_cpic.data.cache.unpacked.cached`.
        chunks: see :func:`~monai_cpic.data.pyramid.averaging.slabs`.

    Raises:
        OSError: if the disk or the cache is full.
    """
    if math.prod(source.shape) > AVERAGED:
        return centres(source, factors)
    slow = order[0]
    channels, *shape = source.shape[0], *level_shape(source.shape[1:], factors)

    def write(folder: Path) -> None:
        label = f"averaging blocks of {' × '.join(map(str, factors))} voxels"
        with (folder / LEVEL).open("wb") as out, tqdm(total=shape[slow], desc=label, leave=False, disable=None) as progress:
            for slab in slabs(source, factors, order, chunks):
                out.write(np.moveaxis(slab, slow + 1, 0).astype("<f4").tobytes())
                progress.update(slab.shape[slow + 1])

    folder = cached(files, cache_dir, write, variant=f"level {factors} of {source!r}")
    others = [axis for axis in range(len(shape)) if axis != slow]
    stored = [slow, None, *others]  # the spatial axis that each stored axis is; None for the channels
    return MappedSource(
        str(folder / LEVEL),
        "<f4",
        (shape[slow], channels, *(shape[axis] for axis in others)),
        (1, *(stored.index(axis) for axis in range(len(shape)))),
        cache_dir=cache_dir,
    )
