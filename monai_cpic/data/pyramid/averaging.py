"""Averages over blocks of voxels, of a whole volume that is read in parts."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from monai_cpic.data.pyramid.geometry import level_shape

if TYPE_CHECKING:
    from monai_cpic.data.sources.base import Source

__all__ = ["average", "part_edges", "slabs"]

PART = 2**22  # voxels that are read at a time: 16 MiB in float32


def average(values: Tensor, factors: Sequence[int]) -> Tensor:
    """Average a volume over blocks, which begin at its first voxel; blocks at its end average the voxels that there are.

    Args:
        values: float ``[C, *spatial]``.
        factors: edges of the blocks.

    Example:
        >>> average(torch.tensor([[[1.0, 2.0, 3.0, 4.0, 7.0]]]), (1, 2))
        tensor([[[1.5000, 3.5000, 7.0000]]])
    """
    pool = torch.nn.functional.avg_pool2d if len(factors) == 2 else torch.nn.functional.avg_pool3d
    edges = tuple(min(factor, edge) for factor, edge in zip(factors, values.shape[1:], strict=True))  # torch demands it
    # torch adds up one voxel after the other, which in float32 loses a per cent of a block of 128³
    return pool(values.double(), edges, edges, ceil_mode=True, count_include_pad=False).to(values.dtype)


def part_edges(shape: Sequence[int], units: Sequence[int], order: Sequence[int], voxels: int) -> list[int]:
    """Edges of parts of a volume, multiples of a unit, that hold up to so many voxels (or one unit, if that holds more).

    Args:
        shape: ``D`` sizes.
        units: ``D`` edges.
        order: the axes; the first one is cut first.
        voxels: to aim at.

    Example:
        >>> part_edges((100, 40, 40), (4, 4, 4), (0, 1, 2), 16_000)
        [8, 40, 40]
        >>> part_edges((100, 40, 40), (4, 4, 4), (0, 1, 2), 1_000)
        [4, 4, 40]
    """
    edges = [count * unit for count, unit in zip(level_shape(shape, units), units, strict=True)]
    for axis in order:
        others = math.prod(edges) // edges[axis]
        count = max(1, voxels // (others * units[axis]))
        edges[axis] = min(edges[axis], count * units[axis])
    return edges


def slabs(
    source: Source, factors: Sequence[int], order: Sequence[int], chunks: Sequence[int] | None = None
) -> Iterator[NDArray[np.float32]]:
    """Average a volume over blocks, slab after slab; memory is taken for one slab of the result and one part of the volume.

    Args:
        source: the volume.
        factors: edges of the blocks.
        order: the spatial axes from the one that is stored with the largest distances between voxels to the one with the
            smallest; slabs are cut along the first.
        chunks: edges of what is decoded at a time, which should not be cut; by default single voxels.

    Yields:
        true values ``[C, *spatial]``, a part of the level along the axis ``order[0]``.
    """
    channels, *shape = source.shape
    units = [-(-chunk // factor) * factor for chunk, factor in zip(chunks or [1] * len(shape), factors, strict=True)]
    edges = part_edges(shape, units, order, PART // channels)
    slow = order[0]
    for first in range(0, shape[slow], edges[slow]):
        corners = [range(0, length, edge) for length, edge in zip(shape, edges, strict=True)]
        corners[slow] = range(first, first + 1)
        thickness = min(edges[slow], shape[slow] - first)
        covered = [thickness if axis == slow else length for axis, length in enumerate(shape)]
        slab = np.empty((channels, *level_shape(covered, factors)), np.float32)
        for corner in itertools.product(*corners):
            values = average(_part(source, corner, edges), factors)
            begins = [0 if axis == slow else begin // factors[axis] for axis, begin in enumerate(corner)]
            slab[(slice(None), *map(slice, begins, np.add(begins, values.shape[1:])))] = values.numpy()
        yield slab


def _part(source: Source, corner: Sequence[int], edges: Sequence[int]) -> Tensor:
    """True values of a part of a volume, cut off where the volume ends, float32 ``[C, *edges]``."""
    size = [min(edge, length - begin) for edge, length, begin in zip(edges, source.shape[1:], corner, strict=True)]
    stored: NDArray[Any] = source.blocks(np.array([corner], np.int64), size)[:, 0]
    values = np.ascontiguousarray(source.scaled(stored), np.float32)
    source.release()
    return torch.from_numpy(values)
