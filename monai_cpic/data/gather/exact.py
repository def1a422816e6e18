"""Grids whose voxels are stored voxels: shifts, flips and permutations of axes, which need no interpolation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray
from torch import Tensor

from monai_cpic.data.gather.indexing import product
from monai_cpic.data.sources.base import Source

__all__ = ["ExactGrid"]


@dataclass(frozen=True, eq=False)
class ExactGrid:
    """An output grid whose axes are stored axes, some of them reversed, and which may begin at any stored voxel.

    Args:
        columns: for each stored axis the output axis that runs along it.
        signs: for each stored axis 1, or -1 where the output runs against it, int64 ``[D]``.
        first: where the first output voxel lies, int64 ``[D]``.
        lower: the smallest stored index of the grid along each stored axis, int64 ``[D]``; negative outside the stored volume.
        upper: the largest one.
        zeros: voxels outside the stored volume are 0; else they are the nearest ones.
    """

    columns: list[int]
    signs: NDArray[Any]
    first: NDArray[Any]
    lower: NDArray[Any]
    upper: NDArray[Any]
    zeros: bool

    @staticmethod
    def of(matrix: NDArray[Any], shape: tuple[int, ...], zeros: bool) -> ExactGrid:
        """The grid of some shape behind a matrix of whole numbers ``[D + 1, D + 1]``: a signed permutation and a shift."""
        rows = matrix[:-1].astype(np.int64)
        columns = np.abs(rows[:, :-1]).argmax(1)
        signs, first = rows[np.arange(len(rows)), columns], rows[:, -1]
        last = first + signs * (np.array(shape)[columns] - 1)
        return ExactGrid(columns.tolist(), signs, first, np.minimum(first, last), np.maximum(first, last), zeros)

    def patches(self, source: Source, starts: NDArray[Any], size: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Read patches; see :meth:`~monai_cpic.data.Sampling.patches`."""
        numbers = np.float32 if dtype == torch.float32 else np.float64
        edges = [size[column] for column in self.columns]
        corners = starts[:, self.columns] * self.signs + self.first + np.minimum(self.signs, 0) * (np.array(edges) - 1)
        last = np.array(source.shape[1:]) - 1
        # Blocks are read several times faster than single voxels, and sources repeat the border of the stored volume.
        begin, end = np.maximum(self.lower, 0), np.minimum(self.upper, last)
        if not self.zeros and (begin == 0).all() and (end == last).all():
            stored = source.scaled(source.blocks(corners, edges), numbers)
        else:
            whole = ((corners >= begin) & (corners <= end - edges + 1)).all(1)
            stored = np.empty((source.shape[0], len(corners), *edges), numbers)
            if whole.any():  # a source is never asked for nothing, which a function may not answer
                stored[:, whole] = source.scaled(source.blocks(corners[whole], edges), numbers)
            if not whole.all():
                stored[:, ~whole] = self._at_border(source, corners[~whole], edges, numbers)
        # An axis of one voxel is not flipped: numpy would keep its negative stride, which torch refuses.
        flips = tuple(slice(None, None, int(sign) if edge > 1 else 1) for sign, edge in zip(self.signs, edges, strict=True))
        back = [1, 0, *(2 + self.columns.index(axis) for axis in range(len(size)))]
        return torch.from_numpy(np.ascontiguousarray(stored[(slice(None), slice(None), *flips)].transpose(back), numbers))

    def _at_border(self, source: Source, corners: NDArray[Any], edges: list[int], dtype: DTypeLike) -> NDArray[Any]:
        """True values ``[C, N, *edges]`` of patches that reach beyond the grid or the stored volume."""
        lines = [
            (corners[:, axis, None] + np.arange(edge)).clip(self.lower[axis], self.upper[axis]) for axis, edge in enumerate(edges)
        ]
        inside = [line.clip(0, edge - 1) for line, edge in zip(lines, source.shape[1:], strict=True)]
        values = source.scaled(source.points(product(inside)), dtype)
        if self.zeros:
            outside = product([line != within for line, within in zip(lines, inside, strict=True)])
            values = np.where(np.logical_or.reduce(np.broadcast_arrays(*outside)), 0, values)
        return values
