"""Reading cubes on a grid that is an affine image of the stored one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from monai.transforms.lazy.utils import requires_interp
from numpy.typing import NDArray
from torch import Tensor

from monai_cpic.data.gather import linear_taps, product
from monai_cpic.data.source import Source

__all__ = ["Sampling"]

VOXELS_PER_READ = 2**21  # bounds the memory of a call, whatever the number of cubes

MODES = ("bilinear", "nearest")
PADDING_MODES = ("border", "zeros")


@dataclass(frozen=True, eq=False)
class Sampling:
    """An output grid over stored voxels, and how to interpolate.

    A cube has the values it would have if the whole volume were resampled on the output grid first (as by MONAI's
    ``apply_pending``), that result padded by repeating its border, and the cube cut out then.  Only the voxels under the cubes
    are read.

    Shifts, flips and permutations of axes are exact; a mapping that keeps axes apart (spacing, zoom) is interpolated axis by
    axis; any other (rotation, shear) within the box of stored voxels around each cube.

    Args:
        matrix: output voxel → stored voxel, float64 ``[D+1, D+1]``.
        shape: the output grid, ``D`` sizes.
        mode: ``"bilinear"`` (linear in every dimension) or ``"nearest"``.
        padding_mode: values of the output grid outside the stored volume: the nearest voxel (``"border"``) or ``"zeros"``.

    Raises:
        ValueError: if an argument is not one of the above or the grid is empty.
    """

    matrix: NDArray
    shape: tuple[int, ...]
    mode: str = "bilinear"
    padding_mode: str = "border"

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"mode={self.mode!r}: volumes on disk are interpolated by one of {MODES}")
        if self.padding_mode not in PADDING_MODES:
            raise ValueError(f"padding_mode={self.padding_mode!r}: volumes on disk are padded by one of {PADDING_MODES}")
        if min(self.shape) < 1:
            raise ValueError(f"the output grid {self.shape} is empty")
        matrix = np.asarray(self.matrix, np.float64)
        if matrix.shape != (len(self.shape) + 1,) * 2:
            raise ValueError(f"matrix {matrix.shape} does not fit the {len(self.shape)}-D grid {self.shape}")
        if requires_interp(matrix) is not None:  # a shift, flip or permutation, to MONAI's tolerance
            matrix = np.round(matrix)
        object.__setattr__(self, "matrix", matrix)

    def cubes(self, source: Source, starts: NDArray, size: Sequence[int]) -> Tensor:
        """Cubes ``[N, C, *size]``, float32.

        Args:
            source: stored voxels; ``value = slope · stored + intercept`` of its scaling, in float32.
            starts: first voxels on the output grid, int64 ``[N, D]``, inside the grid or not.
            size: ``D`` numbers.
        """
        channels = source.shape[0]
        reading = _Reading(self, source, self.matrix[:-1], tuple(size))
        result = torch.empty(len(starts), channels, *size)
        direct = reading.direct(starts)
        interpolate = reading.by_axis if reading.columns else reading.by_box
        for which, read, voxels in ((direct, reading.by_block, 1), (~direct, interpolate, reading.voxels_per_value())):
            rows = np.flatnonzero(which)
            step = max(1, VOXELS_PER_READ // (voxels * math.prod(size) * channels))
            for first in range(0, len(rows), step):
                chunk = rows[first : first + step]
                result[torch.from_numpy(chunk)] = read(starts[chunk])
        return result


@dataclass(frozen=True, eq=False)
class _Reading:
    """One call."""

    sampling: Sampling
    source: Source
    rows: NDArray
    size: tuple[int, ...]

    @property
    def columns(self) -> list[int]:
        """For each stored axis the one output axis that moves along it; empty if the mapping mixes axes."""
        moves = np.abs(self.rows[:, :-1]) * self.sampling.shape > 1e-6
        for axis in np.flatnonzero(~moves.any(1)):  # an output axis with nowhere to go stands for any that is left
            moves[axis, np.flatnonzero(~moves.any(0))[:1]] = True
        permutation = (moves.sum(0) == 1).all() and (moves.sum(1) == 1).all()
        return [int(column) for column in moves.argmax(1)] if permutation else []

    @property
    def box(self) -> list[int]:
        """Edges of a box of stored voxels that holds any cube and its neighbours."""
        extent = np.abs(self.rows[:, :-1]) @ (np.array(self.size) - 1)
        return [int(edge) + 3 for edge in np.floor(extent)]

    def voxels_per_value(self) -> int:
        """Stored voxels that interpolation reads for one voxel of a cube."""
        return 2 ** len(self.size) if self.columns else math.ceil(math.prod(self.box) / math.prod(self.size))

    def direct(self, starts: NDArray) -> NDArray:
        """Which of the cubes are blocks of stored voxels, bool ``[N]``."""
        whole = ((starts >= 0) & (starts + self.size <= self.sampling.shape)).all(1)
        shift = self.columns and (np.abs(self._steps()) == 1).all() and not (self.rows[:, -1] % 1).any()
        if not shift:
            return np.zeros_like(whole)
        if self.sampling.padding_mode == "zeros":
            corners, edges = self._corners(starts), [self.size[column] for column in self.columns]
            whole &= ((corners >= 0) & (corners + edges <= self.source.shape[1:])).all(1)
        return whole

    # ---- three ways to read cubes from ``starts``; each gives [N, C, *size] ----------------------------------------------

    def by_block(self, starts: NDArray) -> Tensor:
        """Copy blocks, then turn them."""
        cubes = self.source.blocks(self._corners(starts), [self.size[column] for column in self.columns])
        cubes = np.flip(cubes, [axis + 2 for axis, step in enumerate(self._steps()) if step < 0])
        return self._scaled(cubes.transpose(self._back()))

    def by_axis(self, starts: NDArray) -> Tensor:
        """Read the neighbours of the output coordinates of each axis, then interpolate one axis after the other."""
        lines, weights = [], []
        for row, column in zip(self.rows, self.columns, strict=True):
            coordinates = row[column] * self._grid(starts, column) + row[-1]
            indices, weight = (np.rint(coordinates).astype(np.int64), None) if self._nearest() else linear_taps(coordinates)
            lines.append(indices)
            weights.append(weight)
        cubes = self._scaled(self.source.points(product(self._inside(lines))))
        cubes = self._zeroed(cubes, [self._along(line, axis) for axis, line in enumerate(lines)])
        for axis, weight in enumerate(weights):
            if weight is not None:
                lower, upper = cubes.chunk(2, axis + 2)
                cubes = torch.lerp(lower, upper, torch.from_numpy(self._along(weight, axis)))
        return cubes.permute(self._back())

    def by_box(self, starts: NDArray) -> Tensor:
        """Read the box of stored voxels around each cube and interpolate within it."""
        grids = [self._along(self._grid(starts, axis), axis) for axis in range(len(self.size))]
        coordinates = [sum(a * grid for a, grid in zip(row[:-1], grids, strict=True)) + row[-1] for row in self.rows]
        if self._nearest():
            indices = [np.rint(c).astype(np.int64) for c in coordinates]
            return self._zeroed(self._scaled(self.source.points(self._inside(indices))), indices).transpose(0, 1)
        corners = np.stack([np.floor(c.reshape(len(c), -1).min(1)) for c in coordinates], 1).astype(np.int64)
        boxes = self._scaled(self.source.blocks(corners, self.box))
        boxes = self._zeroed(boxes, [self._along(corners[:, a, None] + np.arange(edge), a) for a, edge in enumerate(self.box)])
        relative = [(c - self._along(corners[:, a, None], a)) * (2 / (self.box[a] - 1)) - 1 for a, c in enumerate(coordinates)]
        grid = torch.from_numpy(np.stack(relative[::-1], -1).astype(np.float32))  # grid_sample counts the last axis first
        return torch.nn.functional.grid_sample(boxes.transpose(0, 1), grid, padding_mode="border", align_corners=True)

    # ---- shared ----------------------------------------------------------------------------------------------------------

    def _nearest(self) -> bool:
        return self.sampling.mode == "nearest"

    def _steps(self) -> NDArray:
        """Stored voxels per output voxel along each stored axis."""
        return np.array([row[column] for row, column in zip(self.rows, self.columns, strict=True)])

    def _corners(self, starts: NDArray) -> NDArray:
        """First stored voxels ``[N, D]`` of cubes that are blocks."""
        steps, edges = self._steps(), np.array([self.size[column] for column in self.columns])
        first = starts[:, self.columns] * steps + self.rows[:, -1]
        return (first + np.minimum(steps, 0) * (edges - 1)).astype(np.int64)

    def _back(self) -> list[int]:
        """Axes that bring ``[C, N, *stored axes]`` to ``[N, C, *output axes]``."""
        return [1, 0, *(2 + self.columns.index(axis) for axis in range(len(self.size)))]

    def _grid(self, starts: NDArray, axis: int) -> NDArray:
        """Coordinates ``[N, s]`` of the cubes along one output axis; those beyond the grid are its border."""
        return (starts[:, axis, None] + np.arange(self.size[axis])).clip(0, self.sampling.shape[axis] - 1)

    def _along(self, values: NDArray, axis: int) -> NDArray:
        """Values ``[N, k]`` of one axis, shaped to broadcast against cubes."""
        return values.reshape(len(values), *(values.shape[1] if d == axis else 1 for d in range(len(self.size))))

    def _inside(self, indices: Sequence[NDArray]) -> list[NDArray]:
        """Indices per stored axis, clamped to the volume."""
        return [index.clip(0, edge - 1) for index, edge in zip(indices, self.source.shape[1:], strict=True)]

    def _scaled(self, stored: NDArray) -> Tensor:
        """Stored numbers of any type as float32 values."""
        return torch.from_numpy(np.ascontiguousarray(self.source.scaled(stored), np.float32))

    def _zeroed(self, cubes: Tensor, indices: Sequence[NDArray]) -> Tensor:
        """Cubes ``[C, N, *k]`` whose voxels beyond the volume are 0, if that is the padding."""
        if self.sampling.padding_mode == "zeros":
            for index, edge in zip(indices, self.source.shape[1:], strict=True):
                outside = (index < 0) | (index >= edge)
                if outside.any():
                    cubes.masked_fill_(torch.from_numpy(outside), 0)
        return cubes
