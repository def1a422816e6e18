"""Where the voxels of a level lie: pure functions on shapes, spacings and matrices."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["block_centres", "checked_steps", "factors_below", "factors_of_step", "level_shape"]

TOLERANCE = 1e-6  # relative; differences of lengths up to this are rounding errors


def checked_steps(steps: Sequence[int]) -> tuple[int, ...]:
    """Steps as a tuple.

    Raises:
        ValueError: if they are not powers of two in increasing order, each once, or there is none.
    """
    powers = bool(steps) and all(step == int(step) and step >= 1 and int(step) & (int(step) - 1) == 0 for step in steps)
    if not powers or any(step >= following for step, following in itertools.pairwise(steps)):
        raise ValueError(f"steps={tuple(steps)}: steps are powers of two, each larger than the one before, such as (1, 4, 16)")
    return tuple(int(step) for step in steps)


def factors_of_step(step: int, spacing: ArrayLike) -> tuple[int, ...]:
    """How many voxels along each axis are averaged to one.

    A step is a length: ``step`` times the smallest spacing.  Along each axis the factor is the power of two, from 1 to ``step``,
    whose voxels are as nearly as possible that long; of two that are equally near, the smaller.

    Args:
        step: a power of two.
        spacing: distances between voxels along each axis, in any unit.

    Example:
        >>> factors_of_step(4, (0.7, 0.7, 5)), factors_of_step(16, (0.7, 0.7, 5))
        ((4, 4, 1), (16, 16, 2))
    """
    lengths = np.asarray(spacing, np.float64) / max(np.min(spacing), np.finfo(np.float64).tiny)
    factors = 2 ** np.arange(step.bit_length())
    misses = np.round(np.abs(np.multiply.outer(lengths, factors) - step) / step, 6)
    return tuple(int(factor) for factor in factors[misses.argmin(1)])


def level_shape(shape: Sequence[int], factors: Sequence[int]) -> tuple[int, ...]:
    """The number of blocks along each spatial axis; the last block may hold fewer voxels than the others."""
    return tuple(-(-edge // factor) for edge, factor in zip(shape, factors, strict=True))


def block_centres(factors: Sequence[int]) -> NDArray[np.float64]:
    """The matrix ``[D + 1, D + 1]`` from the voxels of a level to the centres of their blocks, in voxels of the volume.

    Example:
        >>> block_centres((4, 1)) @ [2, 3, 1]  # the mean of the rows 8, 9, 10, 11
        array([9.5, 3. , 1. ])
    """
    matrix = np.diag([*map(float, factors), 1.0])
    matrix[:-1, -1] = (np.array(factors) - 1) / 2
    return matrix


def factors_below(matrix: NDArray[np.float64]) -> tuple[int, ...]:
    """The coarsest level from which another grid can be interpolated without a loss of resolution.

    Args:
        matrix: from voxels of the other grid to stored voxels, ``[D + 1, D + 1]``.

    Returns:
        for each stored axis the largest power of two that is not above the number of stored voxels that one voxel of the other
        grid spans along this axis (the norm of the matrix's row), and at least 1.

    Example:
        >>> factors_below(np.diag([4.0, 7.9, 0.5, 1.0]))
        (4, 4, 1)
    """
    spans = np.linalg.norm(matrix[:-1, :-1], axis=1) * (1 + TOLERANCE)
    return tuple(int(factor) for factor in 2 ** np.floor(np.log2(spans.clip(1))).astype(np.int64))
