"""Index arithmetic of reading patches: pure functions on arrays ``[C, *spatial]``.

Every function keeps the stored dtype and accepts any strides that are not negative, so a memory map with permuted axes is read in
place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

__all__ = ["blocks", "clamped", "linear_taps", "points", "product"]


def blocks(array: NDArray[Any], starts: NDArray[Any], size: Sequence[int]) -> NDArray[Any]:
    """Blocks of one size from anywhere; outside the array, its border is repeated.

    Args:
        array: ``[C, *spatial]``.
        starts: first voxels, int64 ``[N, D]``.
        size: ``D`` numbers.

    Returns:
        ``[C, N, *size]``.

    Example:
        >>> blocks(np.arange(5)[None], np.array([[1], [-2]]), [3]).tolist()
        [[[1, 2, 3], [0, 0, 0]]]
    """
    inside = ((starts >= 0) & (starts + size <= array.shape[1:])).all(1)
    if len(starts) and inside.all():
        return _windows(array, starts, size)
    border = ~inside
    result = np.empty((len(array), len(starts), *size), array.dtype)
    result[:, border] = points(array, product(clamped(starts[border], size, array.shape[1:])))
    if inside.any():
        result[:, inside] = _windows(array, starts[inside], size)
    return result


def product(lines: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    """Indices of the Cartesian product of one list per axis, for each of N patches.

    Args:
        lines: for each axis, int64 ``[N, k_d]``.

    Returns:
        for each axis an array of size ``k_d`` along that axis and 1 along the others: ``[N, k_0, 1, 1]``, ``[N, 1, k_1, 1]``, ...

    Example:
        >>> points(np.arange(6).reshape(1, 2, 3), product([np.array([[0, 1]]), np.array([[2, 0]])])).tolist()
        [[[[2, 0], [5, 3]]]]
    """
    axes = len(lines)
    return [line.reshape(len(line), *(line.shape[1] if d == axis else 1 for d in range(axes))) for axis, line in enumerate(lines)]


def clamped(starts: NDArray[Any], size: Sequence[int], shape: Sequence[int]) -> list[NDArray[Any]]:
    """For each axis the indices ``[N, size_d]`` of blocks from ``starts`` ``[N, D]``, clamped to the shape."""
    return [
        (starts[:, axis, None] + np.arange(edge)).clip(0, length - 1)
        for axis, (edge, length) in enumerate(zip(size, shape, strict=True))
    ]


def points(array: NDArray[Any], indices: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Voxels ``[C, *shape]`` at ``D`` int64 index arrays (within the array) that broadcast to ``shape``."""
    between, *strides = (stride // array.itemsize for stride in array.strides)
    length = 1 + sum((edge - 1) * stride for edge, stride in zip(array.shape, (between, *strides), strict=True))
    # One flat index into memory is several times faster than numpy's indexing by D arrays; numpy copies what is not contiguous.
    memory = as_strided(array, (length,), (array.itemsize,), writeable=False)
    flat: NDArray[Any] = np.asarray(sum(index * stride for index, stride in zip(indices, strides, strict=True)))
    return memory.take(flat)[None] if len(array) == 1 else memory.take(np.add.outer(np.arange(len(array)) * between, flat))


def linear_taps(coordinates: NDArray[Any], tolerance: float) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """The grid points that linear interpolation along one axis needs, and their weights.

    The points are those between the first and the last neighbour, which neighbouring coordinates share, or, where the coordinates
    lie far apart, two for each of them.

    Args:
        coordinates: float64 ``[N, s]``.
        tolerance: a coordinate this close to a grid point is that point.

    Returns:
        int64 indices ``[N, k]`` of at most ``2 s`` points, which may lie outside the array, and float64 weights ``[N, s, k]``; if
        all coordinates are grid points, their indices ``[N, s]`` and None.

    Example:
        >>> indices, weights = linear_taps(np.array([[0.25, 1.0]]), 1e-6)
        >>> indices.tolist(), weights.tolist()
        ([[0, 1, 2]], [[[0.75, 0.25, 0.0], [0.0, 1.0, 0.0]]])
    """
    nearest = np.rint(coordinates)
    coordinates = np.where(np.abs(coordinates - nearest) < tolerance, nearest, coordinates)
    lower = np.floor(coordinates)
    if (lower == coordinates).all():
        return lower.astype(np.int64), None
    first = lower.min(1, keepdims=True)
    between, pairs = np.arange(int((lower - first).max()) + 2), 2 * coordinates.shape[1]
    if len(between) <= pairs:
        distances = np.abs((coordinates - first)[..., None] - between)
        last = lower.max(1, keepdims=True) + 1  # rows of a shorter way read nothing beyond
        return np.minimum(first + between, last).astype(np.int64), np.maximum(1 - distances, 0)
    upper, own = (coordinates - lower)[..., None], np.eye(coordinates.shape[1])
    return np.concatenate([lower, lower + 1], 1).astype(np.int64), np.concatenate([own * (1 - upper), own * upper], 2)


def _windows(array: NDArray[Any], starts: NDArray[Any], size: Sequence[int]) -> NDArray[Any]:
    """Blocks that lie within the array."""
    positions = [edge - length + 1 for edge, length in zip(array.shape[1:], size, strict=True)]
    windows = as_strided(array, (len(array), *positions, *size), (*array.strides, *array.strides[1:]), writeable=False)
    return windows[(slice(None), *starts.T)]
