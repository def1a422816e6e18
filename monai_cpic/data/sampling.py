"""Reading cubes on a grid that is an affine image of the stored one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from monai.transforms.lazy.utils import requires_interp
from monai_cpic.data.gather import blocks, cross_product, file_order, linear_taps, points

__all__ = ["Sampling"]

VOXELS_PER_CHUNK = 2**20  # read at once: bounds the memory of a call

MODES = ("bilinear", "nearest")
PADDING_MODES = ("border", "zeros")


@dataclass(frozen=True, eq=False)
class Sampling:
    """An output grid over stored voxels, and how to interpolate.

    A cube has the values it would have if the whole volume were resampled on the output grid first (as by MONAI's ``apply_pending``), that
    result padded by repeating its border, and the cube cut out then.  Only the voxels under the cubes are read.

    Shifts, flips and permutations of axes are exact; a mapping that keeps axes apart (spacing, zoom) is interpolated axis by axis; any
    other (rotation, shear) through the box of stored voxels around each cube.

    Args:
        matrix: output voxel → stored voxel, float64 ``[D+1, D+1]``.
        shape: the output grid, ``D`` sizes.
        mode: ``"bilinear"`` (linear in every dimension) or ``"nearest"``.
        padding_mode: value of points of the output grid that lie outside the stored volume: the nearest voxel (``"border"``) or ``"zeros"``.

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
        if requires_interp(matrix) is not None:  # a shift, flip or permutation up to MONAI's tolerance
            matrix = np.round(matrix)
        object.__setattr__(self, "matrix", matrix)

    def cubes(self, array: NDArray, starts: NDArray, size: Sequence[int], slope: float = 1.0, intercept: float = 0.0) -> Tensor:
        """Cubes ``[N, C, *size]``, float32.

        Args:
            array: stored voxels ``[C, *spatial]``; ``value = slope · stored + intercept``.
            starts: first voxels on the output grid, int64 ``[N, D]``, inside the grid or not.
            size: ``D`` numbers.
        """
        order = file_order(array)
        array = array.transpose(0, *(axis + 1 for axis in order))
        rows = self.matrix[order]
        columns = self._columns(rows)
        if columns is None:
            read, per_cube = self._by_box, int(np.prod(self._box(rows, size)))
        else:
            read, per_cube = self._by_axis, int(np.prod(size)) * 2 ** len(size)
        step = max(1, VOXELS_PER_CHUNK // (per_cube * len(array)))
        result = torch.empty(len(starts), len(array), *size)
        for first in range(0, len(starts), step):
            chunk = slice(first, first + step)
            result[chunk] = read(array, rows, columns or [], starts[chunk], size, np.float32(slope), np.float32(intercept))
        return result

    def _columns(self, rows: NDArray) -> list[int] | None:
        """For each stored axis the one output axis that moves along it; None if the mapping mixes axes."""
        moves = np.abs(rows[:, :-1]) * self.shape > 1e-6
        for axis in np.flatnonzero(~moves.any(1)):  # an output axis of one voxel moves along nothing
            free = np.flatnonzero(~moves.any(0))
            moves[axis, free[:1]] = True
        permutation = (moves.sum(0) == 1).all() and (moves.sum(1) == 1).all()
        return [int(column) for column in moves.argmax(1)] if permutation else None

    # ---- axes apart ----------------------------------------------------------------------------------------------------

    def _by_axis(
        self, array: NDArray, rows: NDArray, columns: list[int], starts: NDArray, size: Sequence[int], slope: float, intercept: float
    ) -> Tensor:
        steps = np.array([rows[axis, column] for axis, column in enumerate(columns)])
        edges = [size[column] for column in columns]
        back = (1, 0, *(2 + columns.index(axis) for axis in range(len(size))))  # [C, N, stored axes] → [N, C, output axes]
        whole = ((starts >= 0) & (starts + size <= self.shape)).all(1)
        if (np.abs(steps) == 1).all() and not (rows[:, -1] % 1).any() and self.padding_mode == "border" and whole.any():
            corners = starts[:, columns] * steps + rows[:, -1] + np.minimum(steps, 0) * (np.array(edges) - 1)
            cubes = blocks(array, corners[whole].astype(np.int64), edges)
            cubes = np.flip(cubes, [2 + axis for axis, step in enumerate(steps) if step < 0])
            direct = _scaled(cubes.transpose(back), slope, intercept)
            if whole.all():
                return direct
            result = torch.empty(len(starts), *direct.shape[1:])
            result[torch.from_numpy(whole)] = direct
            result[torch.from_numpy(~whole)] = self._by_taps(array, rows, columns, starts[~whole], size, slope, intercept)
            return result
        return self._by_taps(array, rows, columns, starts, size, slope, intercept)

    def _by_taps(
        self, array: NDArray, rows: NDArray, columns: list[int], starts: NDArray, size: Sequence[int], slope: float, intercept: float
    ) -> Tensor:
        """Read the neighbours of every output coordinate of each axis, then interpolate one axis after the other."""
        lines, weights = [], []
        for axis, column in enumerate(columns):
            grid = self._clamped(starts, size, column)
            coordinates = rows[axis, column] * grid + rows[axis, -1]
            indices, weight = (np.rint(coordinates).astype(np.int64), None) if self.mode == "nearest" else linear_taps(coordinates)
            lines.append(indices)
            weights.append(weight)
        cubes = self._padded(array, lines, slope, intercept)
        for axis, weight in enumerate(weights):
            if weight is not None:
                edge = weight.shape[1]
                lower, upper = cubes.narrow(axis + 2, 0, edge), cubes.narrow(axis + 2, edge, edge)
                factor = torch.from_numpy(weight).reshape(1, len(weight), *(edge if d == axis else 1 for d in range(len(size))))
                cubes = torch.lerp(lower, upper, factor)
        return cubes.permute(1, 0, *(2 + columns.index(axis) for axis in range(len(size))))

    # ---- mixed axes ----------------------------------------------------------------------------------------------------

    def _by_box(
        self, array: NDArray, rows: NDArray, columns: list[int], starts: NDArray, size: Sequence[int], slope: float, intercept: float
    ) -> Tensor:
        """Read the box of stored voxels around each cube and interpolate within it."""
        dimensions = len(size)
        grids = [
            self._clamped(starts, size, axis).reshape(len(starts), *(-1 if d == axis else 1 for d in range(dimensions)))
            for axis in range(dimensions)
        ]
        coordinates = [sum(a * grid for a, grid in zip(row, grids, strict=False)) + row[-1] for row in rows]  # D × [N, *size], float64
        if self.mode == "nearest":
            return self._by_points(array, [np.rint(c).astype(np.int64) for c in coordinates], slope, intercept)
        box = self._box(rows, size)
        corners = np.stack([np.floor(c.reshape(len(c), -1).min(1)) for c in coordinates], 1).astype(np.int64)
        lines = [corners[:, axis, None] + np.arange(edge) for axis, edge in enumerate(box)]
        boxes = self._padded(array, lines, slope, intercept).transpose(0, 1)
        relative = [
            (c - corners[:, axis].reshape(-1, *[1] * dimensions)) * (2 / (box[axis] - 1)) - 1 for axis, c in enumerate(coordinates)
        ]
        grid = torch.from_numpy(np.stack(relative[::-1], -1).astype(np.float32))
        return torch.nn.functional.grid_sample(boxes, grid, mode="bilinear", padding_mode="border", align_corners=True)

    def _by_points(self, array: NDArray, indices: list[NDArray], slope: float, intercept: float) -> Tensor:
        """Read every voxel by its own index."""
        limits = array.shape[1:]
        inside = [index.clip(0, limit - 1) for index, limit in zip(indices, limits, strict=True)]
        cubes = _scaled(points(array, inside), slope, intercept)
        if self.padding_mode == "zeros":
            for index, clamped in zip(indices, inside, strict=True):
                cubes.masked_fill_(torch.from_numpy(index != clamped), 0)
        return cubes.transpose(0, 1)

    @staticmethod
    def _box(rows: NDArray, size: Sequence[int]) -> list[int]:
        """Edges of a box of stored voxels that holds any cube and its interpolation neighbours."""
        extent = np.abs(rows[:, :-1]) @ (np.array(size) - 1)
        return [int(edge) + 3 for edge in np.floor(extent)]

    # ---- shared --------------------------------------------------------------------------------------------------------

    def _clamped(self, starts: NDArray, size: Sequence[int], axis: int) -> NDArray:
        """Coordinates ``[N, size]`` along one output axis; those beyond the grid are its border."""
        return (starts[:, axis, None] + np.arange(size[axis])).clip(0, self.shape[axis] - 1)

    def _padded(self, array: NDArray, lines: list[NDArray], slope: float, intercept: float) -> Tensor:
        """Scaled voxels ``[C, N, *k]`` at the product of index lists that may leave the volume."""
        inside = [line.clip(0, edge - 1) for line, edge in zip(lines, array.shape[1:], strict=True)]
        cubes = _scaled(cross_product(array, inside), slope, intercept)
        if self.padding_mode == "zeros":
            for axis, (line, clamped) in enumerate(zip(lines, inside, strict=True)):
                outside = torch.from_numpy(line != clamped)
                if outside.any():
                    cubes.masked_fill_(outside.reshape(1, len(line), *(-1 if d == axis else 1 for d in range(len(lines)))), 0)
        return cubes


def _scaled(stored: NDArray, slope: float, intercept: float) -> Tensor:
    """Stored numbers of any type and strides as contiguous float32 values."""
    values = torch.from_numpy(np.ascontiguousarray(stored, np.float32))
    if slope != 1:
        values *= float(slope)
    if intercept != 0:
        values += float(intercept)
    return values
