"""Values between stored voxels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from monai_cpic.data.gather import linear_taps, product
from monai_cpic.data.source import Source
from monai_cpic.data.spline import REACH, confined, contract, interpolate, spline_box, spline_line

__all__ = ["MODES", "Interpolation"]

MODES = {"nearest": 0, "bilinear": 1, 0: 0, 1: 1, 3: 3}  # orders of splines
TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-10}  # voxels: a coordinate this close to a grid point is that point


@dataclass(frozen=True)
class Interpolation:
    """Reads a source and interpolates.

    Args:
        source: the voxels.
        mode: see :class:`~monai_cpic.data.Sampling`.
        padding_mode: see :class:`~monai_cpic.data.Sampling`.
        dtype: float32 or float64.
    """

    source: Source
    mode: str | int
    padding_mode: str
    dtype: torch.dtype

    @property
    def order(self) -> int:
        """Of the spline: 0 (nearest), 1 (linear), 3 (cubic)."""
        return MODES[self.mode]

    @property
    def tolerance(self) -> float:
        """Voxels that do not matter."""
        return TOLERANCE[self.dtype]

    @property
    def reach(self) -> int:
        """Voxels that are read on each side of the neighbours."""
        return REACH[self.dtype] if self.order == 3 else 0

    def values(self, stored: NDArray) -> Tensor:
        """True values of stored numbers of any type, contiguous."""
        dtype = np.float32 if self.dtype == torch.float32 else np.float64
        return torch.from_numpy(np.ascontiguousarray(self.source.scaled(stored, dtype), dtype))

    def at_lines(self, coordinates: Sequence[NDArray]) -> Tensor:
        """Cubes whose coordinates along each axis do not depend on the other axes, interpolated one axis after the other.

        Args:
            coordinates: for each stored axis float64 ``[N, s]``.

        Returns:
            ``[C, N, *s]``.
        """
        if self.order == 3:
            edges = self.source.shape[1:]
            taps = [
                spline_line(line, edge, self.padding_mode, self.reach, self.tolerance)
                for line, edge in zip(coordinates, edges, strict=True)
            ]
            voxels = self.values(self.source.points(product([indices for indices, _ in taps])))
            cubes = contract(voxels, [weights for _, weights in taps])
        else:
            cubes = self._linear_lines(coordinates)
        return self._blanked(cubes, product(coordinates))

    def at_points(self, coordinates: Sequence[NDArray], box: Sequence[int]) -> Tensor:
        """Cubes of any coordinates, interpolated within boxes of stored voxels.

        Args:
            coordinates: for each stored axis float64 ``[N, *size]``.
            box: edges of boxes that hold any cube, its neighbours and what is in reach.

        Returns:
            ``[C, N, *size]``.
        """
        if self.order == 0:
            indices = [self._rounded(c) for c in coordinates]
            cubes = self._faded(self.values(self.source.points(self._inside(indices))), indices)
        else:
            cubes = (self._spline_boxes if self.order == 3 else self._linear_boxes)(coordinates, box)
        return self._blanked(cubes, coordinates)

    def _linear_lines(self, coordinates: Sequence[NDArray]) -> Tensor:
        taps = [(self._rounded(line), None) if self.order == 0 else linear_taps(line, self.tolerance) for line in coordinates]
        lines = [indices for indices, _ in taps]
        cubes = self._faded(self.values(self.source.points(product(self._inside(lines)))), product(lines))
        for axis, (_, weight) in enumerate(taps):
            if weight is not None:
                lower, upper = cubes.chunk(2, axis + 2)
                cubes = torch.lerp(lower, upper, torch.from_numpy(_along(weight, axis, len(taps))).to(self.dtype))
        return cubes

    def _linear_boxes(self, coordinates: Sequence[NDArray], box: Sequence[int]) -> Tensor:
        first = [np.floor(_least(c)).astype(np.int64) for c in coordinates]
        voxels = self.values(self.source.blocks(np.stack(first, 1), box))
        voxels = self._faded(voxels, product([f[:, None] + np.arange(edge) for f, edge in zip(first, box, strict=True)]))
        relative = [
            _from(c, f) * (2 / (edge - 1)) - 1 for c, f, edge in zip(coordinates, first, box, strict=True)
        ]  # grid_sample counts from -1 to 1, and the last axis first
        grid = torch.from_numpy(np.stack(relative[::-1], -1)).to(self.dtype)
        cubes = torch.nn.functional.grid_sample(voxels.transpose(0, 1), grid, padding_mode="border", align_corners=True)
        return cubes.transpose(0, 1)

    def _spline_boxes(self, coordinates: Sequence[NDArray], box: Sequence[int]) -> Tensor:
        taps, relative = [], []
        for line, count, edge in zip(coordinates, box, self.source.shape[1:], strict=True):
            inner = confined(line, edge, self.padding_mode)
            first = np.floor(_least(inner)).astype(np.int64) - 1
            taps.append(spline_box(first, count - 2 * self.reach, edge, self.padding_mode, self.reach))
            relative.append(_from(inner, first))
        voxels = self.values(self.source.points(product([indices for indices, _ in taps])))
        return interpolate(contract(voxels, [weights for _, weights in taps]), np.stack(relative))

    def _rounded(self, coordinates: NDArray) -> NDArray:
        """The nearest grid points; in the middle torch takes the even one, scipy the upper one."""
        nearest = np.rint(coordinates) if self.mode == "nearest" else np.floor(coordinates + 0.5)
        return nearest.astype(np.int64)

    def _inside(self, indices: Sequence[NDArray]) -> list[NDArray]:
        """Indices clamped to the volume."""
        return [index.clip(0, edge - 1) for index, edge in zip(indices, self.source.shape[1:], strict=True)]

    def _faded(self, voxels: Tensor, indices: Sequence[NDArray]) -> Tensor:
        """Voxels to interpolate between: named modes fade into zeros that lie beyond the volume."""
        return self._zeroed(voxels, indices) if isinstance(self.mode, str) else voxels

    def _blanked(self, cubes: Tensor, coordinates: Sequence[NDArray]) -> Tensor:
        """Interpolated values: for modes that are orders the zeros begin where the volume ends."""
        return cubes if isinstance(self.mode, str) else self._zeroed(cubes, coordinates)

    def _zeroed(self, values: Tensor, positions: Sequence[NDArray]) -> Tensor:
        """Values ``[C, N, *k]``, 0 at positions beyond the volume if that is the padding."""
        if self.padding_mode == "zeros":
            for position, edge in zip(positions, self.source.shape[1:], strict=True):
                outside = (position < -self.tolerance) | (position > edge - 1 + self.tolerance)
                if outside.any():
                    values.masked_fill_(torch.from_numpy(outside), 0)
        return values


def _least(values: NDArray) -> NDArray:
    """The smallest of each cube."""
    return values.reshape(len(values), -1).min(1, initial=np.inf)


def _from(coordinates: NDArray, first: NDArray) -> NDArray:
    """Coordinates ``[N, *size]`` counted from the first voxel ``[N]`` of each box."""
    return coordinates - first.reshape(-1, *(1,) * (coordinates.ndim - 1))


def _along(values: NDArray, axis: int, axes: int) -> NDArray:
    """Values ``[N, k]`` of one axis, shaped to broadcast against cubes."""
    return values.reshape(len(values), *(-1 if d == axis else 1 for d in range(axes)))
