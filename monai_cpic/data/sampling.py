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

from monai_cpic.data.gather import SNAP, linear_taps, product
from monai_cpic.data.source import Source
from monai_cpic.data.spline import REACH, confined, contract, interpolate, spline_box, spline_line

__all__ = ["Sampling"]

VOXELS_PER_READ = 2**21  # bounds the memory of a call, whatever the number of cubes

MODES = ("bilinear", "nearest", 0, 1, 3)
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
        mode: ``"bilinear"`` (linear in every dimension), ``"nearest"``, or the order of a spline as :mod:`scipy.ndimage`
            evaluates it: 0, 1 or 3 (cubic).
        padding_mode: values of the output grid outside the stored volume: the nearest voxel (``"border"``) or ``"zeros"``,
            into which names fade over a voxel and orders do not.

    Raises:
        ValueError: if an argument is not one of the above or the grid is empty.
    """

    matrix: NDArray
    shape: tuple[int, ...]
    mode: str | int = "bilinear"
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

    def cubes(self, source: Source, starts: NDArray, size: Sequence[int], dtype: torch.dtype = torch.float32) -> Tensor:
        """Cubes ``[N, C, *size]``.

        Args:
            source: stored voxels, with their scaling.
            starts: first voxels on the output grid, int64 ``[N, D]``, inside the grid or not.
            size: ``D`` numbers.
            dtype: float32 or float64, for scaling, interpolation and result.
        """
        channels = source.shape[0]
        reading = _Reading(self, source, self.matrix[:-1], tuple(size), dtype)
        result = torch.empty(len(starts), channels, *size, dtype=dtype)
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
    dtype: torch.dtype

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
        margin = 2 * REACH[self.dtype] + 2 if self.sampling.mode == 3 else 0
        return [int(edge) + 3 + margin for edge in np.floor(extent)]

    def voxels_per_value(self) -> int:
        """Stored voxels that interpolation reads for one voxel of a cube."""
        if self.columns and self.sampling.mode != 3:
            return 2 ** len(self.size)
        return math.ceil(math.prod(self.box) / math.prod(self.size))

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
        coordinates = [
            row[column] * self._grid(starts, column) + row[-1] for row, column in zip(self.rows, self.columns, strict=True)
        ]
        cubes = self._splines(coordinates) if self.sampling.mode == 3 else self._lines(coordinates)
        cubes = self._blanked(cubes, [self._along(line, axis) for axis, line in enumerate(coordinates)])
        return cubes.permute(self._back())

    def by_box(self, starts: NDArray) -> Tensor:
        """Read the box of stored voxels around each cube and interpolate within it."""
        grids = [self._along(self._grid(starts, axis), axis) for axis in range(len(self.size))]
        coordinates = [sum(a * grid for a, grid in zip(row[:-1], grids, strict=True)) + row[-1] for row in self.rows]
        method = {0: self._nearest_points, 1: self._linear_boxes, 3: self._spline_boxes}[self._order()]
        return self._blanked(method(coordinates), coordinates).transpose(0, 1)

    # ---- interpolation at coordinates on the stored grid: [C, N, *size], in the order of the stored axes -------------------

    def _lines(self, coordinates: Sequence[NDArray]) -> Tensor:
        taps = [(self._rounded(line), None) if self._order() == 0 else linear_taps(line) for line in coordinates]
        lines = [indices for indices, _ in taps]
        cubes = self._scaled(self.source.points(product(self._inside(lines))))
        cubes = self._faded(cubes, [self._along(line, axis) for axis, line in enumerate(lines)])
        for axis, (_, weight) in enumerate(taps):
            if weight is not None:
                lower, upper = cubes.chunk(2, axis + 2)
                cubes = torch.lerp(lower, upper, torch.from_numpy(self._along(weight, axis)).to(self.dtype))
        return cubes

    def _splines(self, coordinates: Sequence[NDArray]) -> Tensor:
        edges, padding_mode = self.source.shape[1:], self.sampling.padding_mode
        taps = [spline_line(c, edge, padding_mode, REACH[self.dtype]) for c, edge in zip(coordinates, edges, strict=True)]
        return contract(self._scaled(self.source.points(product([i for i, _ in taps]))), [weights for _, weights in taps])

    def _nearest_points(self, coordinates: Sequence[NDArray]) -> Tensor:
        indices = [self._rounded(c) for c in coordinates]
        return self._faded(self._scaled(self.source.points(self._inside(indices))), indices)

    def _linear_boxes(self, coordinates: Sequence[NDArray]) -> Tensor:
        corners = np.stack([np.floor(c.reshape(len(c), -1).min(1)) for c in coordinates], 1).astype(np.int64)
        boxes = self._scaled(self.source.blocks(corners, self.box))
        boxes = self._faded(boxes, [self._along(corners[:, a, None] + np.arange(edge), a) for a, edge in enumerate(self.box)])
        relative = [(c - self._along(corners[:, a, None], a)) * (2 / (self.box[a] - 1)) - 1 for a, c in enumerate(coordinates)]
        grid = torch.from_numpy(np.stack(relative[::-1], -1)).to(self.dtype)  # grid_sample counts the last axis first
        return torch.nn.functional.grid_sample(boxes.transpose(0, 1), grid, padding_mode="border", align_corners=True).transpose(
            0, 1
        )

    def _spline_boxes(self, coordinates: Sequence[NDArray]) -> Tensor:
        padding_mode, reach = self.sampling.padding_mode, REACH[self.dtype]
        lines, weights, relative = [], [], []
        for axis, (values, edge) in enumerate(zip(coordinates, self.source.shape[1:], strict=True)):
            values = confined(values, edge, padding_mode)
            first = np.floor(values.reshape(len(values), -1).min(1)).astype(np.int64) - 1
            indices, weight = spline_box(first, self.box[axis] - 2 * reach, edge, padding_mode, reach)
            lines.append(indices)
            weights.append(weight)
            relative.append(values - self._along(first[:, None], axis))
        coefficients = contract(self._scaled(self.source.points(product(lines))), weights)
        return interpolate(coefficients, np.stack(relative))

    # ---- shared ----------------------------------------------------------------------------------------------------------

    def _order(self) -> int:
        mode = self.sampling.mode
        return {"nearest": 0, "bilinear": 1}[mode] if isinstance(mode, str) else mode

    def _rounded(self, coordinates: NDArray) -> NDArray:
        """The nearest grid points; in the middle torch takes the even one, scipy the upper one."""
        nearest = np.rint(coordinates) if self.sampling.mode == "nearest" else np.floor(coordinates + 0.5)
        return nearest.astype(np.int64)

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
        """Stored numbers of any type as values."""
        dtype = np.float32 if self.dtype == torch.float32 else np.float64
        return torch.from_numpy(np.ascontiguousarray(self.source.scaled(stored, dtype), dtype))

    def _faded(self, cubes: Tensor, indices: Sequence[NDArray]) -> Tensor:
        """Voxels ``[C, N, *k]`` to interpolate between; those beyond the volume are 0 if they fade into zeros."""
        return self._zeroed(cubes, indices) if isinstance(self.sampling.mode, str) else cubes

    def _blanked(self, cubes: Tensor, coordinates: Sequence[NDArray]) -> Tensor:
        """Interpolated cubes ``[C, N, *size]``; beyond the volume they are 0 if there the zeros begin."""
        return cubes if isinstance(self.sampling.mode, str) else self._zeroed(cubes, coordinates)

    def _zeroed(self, cubes: Tensor, positions: Sequence[NDArray]) -> Tensor:
        """Cubes that are 0 at positions beyond the volume, if that is the padding."""
        if self.sampling.padding_mode == "zeros":
            for position, edge in zip(positions, self.source.shape[1:], strict=True):
                outside = (position < -SNAP) | (position > edge - 1 + SNAP)
                if outside.any():
                    cubes.masked_fill_(torch.from_numpy(outside), 0)
        return cubes
