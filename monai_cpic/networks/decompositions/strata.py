"""Stratified places: one in each cell of a regular partition of a volume."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["cell_counts", "stratified_places"]


def cell_counts(shape: Sequence[int], points: int) -> list[int]:
    """Into how many cells to cut each axis: powers of two, at most ``points`` cells in all, as near to cubes as that allows.

    Example:
        >>> cell_counts((512, 512, 32), 1024)
        [32, 32, 1]
    """
    counts = [1] * len(shape)
    while 2 * torch.tensor(counts).prod() <= points:
        edges = [size / count for size, count in zip(shape, counts, strict=True)]
        longest = edges.index(max(edges))
        if edges[longest] < 2:
            break
        counts[longest] *= 2
    return counts


def stratified_places(counts: Sequence[int], seed: int) -> Tensor:
    """One random place in each cell, ``[P, D]`` in [0, 1) of the extent of each axis, float64, cells in row-major order.

    The mean of a function over such places varies less than over places drawn at random (Neyman 1934).
    """
    cells = torch.cartesian_prod(*(torch.arange(count) for count in counts)).reshape(-1, len(counts))
    within = torch.rand(cells.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (cells + within) / torch.tensor(counts)
