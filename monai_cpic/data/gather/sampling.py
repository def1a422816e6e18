"""Reading patches on a grid that is an affine image of the stored one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, partial
from typing import Any

import numpy as np
import torch
from monai.transforms.lazy.utils import requires_interp
from numpy.typing import NDArray
from torch import Tensor

from monai_cpic.data.gather.exact import ExactGrid
from monai_cpic.data.gather.indexing import clamped, product
from monai_cpic.data.gather.interpolation import MODES, Interpolation
from monai_cpic.data.sources.base import Source

__all__ = ["Sampling"]

VOXELS_PER_READ = 2**21  # bounds the memory of a call, whatever the number of patches

PADDING_MODES = ("border", "zeros")


@dataclass(frozen=True, eq=False)
class Sampling:
    """An output grid over stored voxels, and how to interpolate them.

    A patch has the values that it would have if the whole volume were resampled to the output grid (as by MONAI's
    ``apply_pending``), padded by repeating the border of the result, and the patch cut out.  Only the voxels under the patches
    are read.

    Shifts, flips and permutations of axes are exact.  A mapping that does not mix axes (spacing, zoom) is interpolated axis by
    axis; any other (rotation, shear) is interpolated within the box of stored voxels around each patch.

    Args:
        matrix: from output voxels to stored voxels, float64 ``[D + 1, D + 1]``.
        shape: the output grid, ``D`` sizes.
        mode: ``"bilinear"`` (linear in every dimension), ``"nearest"``, or the order of a spline as :mod:`scipy.ndimage`
            evaluates it: 0, 1 or 3 (cubic).
        padding_mode: values of the output grid outside the stored volume: the nearest voxel (``"border"``) or ``"zeros"``.
            With zeros, values fade to 0 over a voxel if the mode is a name, and jump to 0 at the border if it is a number.

    Raises:
        ValueError: if an argument is not one of the above or the grid is empty.
    """

    matrix: NDArray[Any]
    shape: tuple[int, ...]
    mode: str | int = "bilinear"
    padding_mode: str = "border"
    _exact: ExactGrid | None = field(init=False, repr=False)  # the grid, if it needs no interpolation

    @staticmethod
    @lru_cache(maxsize=256)
    def stored(shape: tuple[int, ...]) -> Sampling:
        """The stored grid itself."""
        return Sampling(np.eye(len(shape) + 1), shape)

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"mode={self.mode!r}: volumes on disk are interpolated by one of {tuple(MODES)}")
        if self.padding_mode not in PADDING_MODES:
            raise ValueError(f"padding_mode={self.padding_mode!r}: volumes on disk are padded by one of {PADDING_MODES}")
        if min(self.shape) < 1:
            raise ValueError(f"the output grid {self.shape} is empty")
        matrix = np.asarray(self.matrix, np.float64)
        if matrix.shape != (len(self.shape) + 1,) * 2:
            raise ValueError(f"matrix {matrix.shape} does not fit the {len(self.shape)}-D grid {self.shape}")
        exact = requires_interp(matrix) is not None  # a shift, flip or permutation, to MONAI's tolerance
        matrix = np.round(matrix) if exact else matrix
        object.__setattr__(self, "matrix", matrix)
        grid = ExactGrid.of(matrix, self.shape, self.padding_mode == "zeros") if exact else None
        object.__setattr__(self, "_exact", grid)

    @property
    def cubic(self) -> bool:
        """Whether values are those of cubic splines: shifts, flips and permutations of axes need none."""
        return self.mode == 3 and self._exact is None

    @property
    def identity(self) -> tuple[bytes, tuple[int, ...], str | int, str]:
        """Equal for equal samplings."""
        return self.matrix.tobytes(), self.shape, self.mode, self.padding_mode

    def patches(self, source: Source, starts: NDArray[Any], size: Sequence[int], dtype: torch.dtype = torch.float32) -> Tensor:
        """Read patches.

        Args:
            source: the stored voxels.
            starts: first voxels on the output grid, int64 ``[N, D]``, inside the grid or not.
            size: ``D`` edge lengths.
            dtype: of the interpolation and the result, float32 or float64.

        Returns:
            ``[N, C, *size]``.
        """
        size, voxels = tuple(size), 1
        if not len(starts):
            return torch.empty(0, source.shape[0], *size, dtype=dtype, device="cpu")
        read: Callable[[NDArray[Any]], Tensor]
        exact = self._exact
        if exact is not None:
            read = partial(exact.patches, source, size=size, dtype=dtype)
        else:
            reading = _Reading(self, Interpolation(source, self.mode, self.padding_mode, dtype), self.matrix[:-1], size)
            read, voxels = reading.by_axis if reading.columns else reading.by_box, reading.voxels_per_value()
        step = max(1, VOXELS_PER_READ // (voxels * math.prod(size) * source.shape[0]))
        parts = [read(starts[first : first + step]) for first in range(0, len(starts), step)]
        return parts[0] if len(parts) == 1 else torch.cat(parts)


@dataclass(frozen=True, eq=False)
class _Reading:
    """One call: from patches of the output grid to coordinates of the stored one."""

    sampling: Sampling
    interpolation: Interpolation
    rows: NDArray[Any]
    size: tuple[int, ...]

    @cached_property
    def columns(self) -> list[int]:
        """For each stored axis the output axis that runs along it; empty if the mapping mixes axes."""
        moves = np.abs(self.rows[:, :-1]) * self.sampling.shape > self.interpolation.tolerance
        for axis in np.flatnonzero(~moves.any(1)):  # an output axis of one voxel fits any stored axis that is left
            moves[axis, np.flatnonzero(~moves.any(0))[:1]] = True
        permutation = (moves.sum(0) == 1).all() and (moves.sum(1) == 1).all()
        return [int(column) for column in moves.argmax(1)] if permutation else []

    @property
    def box(self) -> list[int]:
        """Edges of a box of stored voxels that holds any patch and its neighbours."""
        extent = np.abs(self.rows[:, :-1]) @ (np.array(self.size) - 1)
        neighbours = 2 * self.interpolation.reach + (5 if self.interpolation.order == 3 else 3)
        return [int(edge) + neighbours for edge in np.floor(extent)]

    def voxels_per_value(self) -> int:
        """The number of stored voxels that are read for one voxel of a patch."""
        if self.columns and self.interpolation.order < 3:
            return 1 << len(self.size)
        return -(-math.prod(self.box) // math.prod(self.size))

    # ---- two ways to read patches from ``starts``; each gives [N, C, *size] -----------------------------------------------

    def by_axis(self, starts: NDArray[Any]) -> Tensor:
        """Read the neighbours of the output coordinates of each axis, then interpolate one axis after the other."""
        grids = self._grids(starts)
        coordinates = [row[column] * grids[column] + row[-1] for row, column in zip(self.rows, self.columns, strict=True)]
        return self.interpolation.at_lines(coordinates).permute(self._back())

    def by_box(self, starts: NDArray[Any]) -> Tensor:
        """Read the box of stored voxels around each patch and interpolate within it."""
        grids = product(self._grids(starts))
        coordinates = [sum(a * grid for a, grid in zip(row[:-1], grids, strict=True)) + row[-1] for row in self.rows]
        return self.interpolation.at_points(coordinates, self.box).transpose(0, 1)

    # ---- shared ----------------------------------------------------------------------------------------------------------

    def _back(self) -> list[int]:
        """The permutation from ``[C, N, *stored axes]`` to ``[N, C, *output axes]``."""
        return [1, 0, *(2 + self.columns.index(axis) for axis in range(len(self.size)))]

    def _grids(self, starts: NDArray[Any]) -> list[NDArray[Any]]:
        """For each output axis the coordinates ``[N, s]`` of the patches, clamped to the grid."""
        return clamped(starts, self.size, self.sampling.shape)
