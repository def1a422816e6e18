"""Interpolation between stored voxels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from monai_cpic.data.gather.indexing import linear_taps, product
from monai_cpic.data.gather.spline import REACH, confined, interpolate, spline_box, spline_line
from monai_cpic.data.sources.base import Source

__all__ = ["MODES", "Interpolation"]

MODES = {"nearest": 0, "bilinear": 1, 0: 0, 1: 1, 3: 3}  # orders of splines
TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-10}  # voxels: a coordinate this close to a grid point is that point


@dataclass(frozen=True)
class Interpolation:
    """Interpolation of a source at coordinates between its voxels.

    Args:
        source: the stored voxels.
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
        """The order of the spline: 0 (nearest voxel), 1 (linear) or 3 (cubic)."""
        return MODES[self.mode]

    @property
    def tolerance(self) -> float:
        """Differences of coordinates up to this are rounding errors, in voxels."""
        return TOLERANCE[self.dtype]

    @property
    def reach(self) -> int:
        """How many voxels beyond the neighbours are read on each side."""
        return REACH[self.dtype] if self.order == 3 else 0

    def values(self, stored: NDArray[Any]) -> Tensor:
        """True values of stored numbers of any dtype, contiguous."""
        dtype = np.float32 if self.dtype == torch.float32 else np.float64
        return torch.from_numpy(np.ascontiguousarray(self.source.scaled(stored, dtype), dtype))

    def at_lines(self, coordinates: Sequence[NDArray[Any]]) -> Tensor:
        """Interpolate patches whose coordinates along each axis do not depend on the other axes, one axis after the other.

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
            patches = _contracted(voxels, [weights for _, weights in taps])
        else:
            patches = self._linear_lines(coordinates)
        return self._blanked(patches, product(coordinates))

    def at_points(self, coordinates: Sequence[NDArray[Any]], box: Sequence[int]) -> Tensor:
        """Interpolate patches of any coordinates, each within a box of stored voxels.

        Args:
            coordinates: for each stored axis float64 ``[N, *size]``.
            box: edges of a box that holds any of the patches, its neighbours and the voxels within :attr:`reach`.

        Returns:
            ``[C, N, *size]``.
        """
        if self.order == 0:
            indices = [self._rounded(c) for c in coordinates]
            patches = self._faded(self.values(self.source.points(self._inside(indices))), indices)
        else:
            patches = (self._spline_boxes if self.order == 3 else self._linear_boxes)(coordinates, box)
        return self._blanked(patches, coordinates)

    def _linear_lines(self, coordinates: Sequence[NDArray[Any]]) -> Tensor:
        taps = [(self._rounded(line), None) if self.order == 0 else linear_taps(line, self.tolerance) for line in coordinates]
        lines = [indices for indices, _ in taps]
        patches = self._faded(self.values(self.source.points(product(self._inside(lines)))), product(lines))
        return _contracted(patches, [weights for _, weights in taps])

    def _linear_boxes(self, coordinates: Sequence[NDArray[Any]], box: Sequence[int]) -> Tensor:
        first = [np.floor(_least(c)).astype(np.int64) for c in coordinates]
        voxels = self.values(self.source.blocks(np.stack(first, 1), box))
        voxels = self._faded(voxels, product([f[:, None] + np.arange(edge) for f, edge in zip(first, box, strict=True)]))
        relative = [
            _from(c, f) * (2 / (edge - 1)) - 1 for c, f, edge in zip(coordinates, first, box, strict=True)
        ]  # grid_sample counts from -1 to 1, with the last axis first
        grid = torch.from_numpy(np.stack(relative[::-1], -1)).to(self.dtype)
        patches = torch.nn.functional.grid_sample(voxels.transpose(0, 1), grid, padding_mode="border", align_corners=True)
        return patches.transpose(0, 1)

    def _spline_boxes(self, coordinates: Sequence[NDArray[Any]], box: Sequence[int]) -> Tensor:
        taps, relative = [], []
        for line, count, edge in zip(coordinates, box, self.source.shape[1:], strict=True):
            inner = confined(line, edge, self.padding_mode)
            first = np.floor(_least(inner)).astype(np.int64) - 1
            taps.append(spline_box(first, count - 2 * self.reach, edge, self.padding_mode, self.reach))
            relative.append(_from(inner, first))
        voxels = self.values(self.source.points(product([indices for indices, _ in taps])))
        return interpolate(_contracted(voxels, [weights for _, weights in taps]), np.stack(relative))

    def _rounded(self, coordinates: NDArray[Any]) -> NDArray[Any]:
        """The nearest grid points; halfway between two, torch takes the even one and scipy the upper one."""
        nearest = np.rint(coordinates) if self.mode == "nearest" else np.floor(coordinates + 0.5)
        return nearest.astype(np.int64)

    def _inside(self, indices: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """Clamp indices to the volume."""
        return [index.clip(0, edge - 1) for index, edge in zip(indices, self.source.shape[1:], strict=True)]

    def _faded(self, voxels: Tensor, indices: Sequence[NDArray[Any]]) -> Tensor:
        """Zero padding of modes that are names: voxels outside are 0 before interpolation, so values fade to 0 over a voxel."""
        return self._zeroed(voxels, indices) if isinstance(self.mode, str) else voxels

    def _blanked(self, patches: Tensor, coordinates: Sequence[NDArray[Any]]) -> Tensor:
        """Zero padding of modes that are numbers: interpolated values are 0 as soon as they lie outside the volume."""
        return patches if isinstance(self.mode, str) else self._zeroed(patches, coordinates)

    def _zeroed(self, values: Tensor, positions: Sequence[NDArray[Any]]) -> Tensor:
        """Set values ``[C, N, *k]`` at positions outside the volume to 0 if the padding mode says so."""
        if self.padding_mode == "zeros":
            for position, edge in zip(positions, self.source.shape[1:], strict=True):
                outside = (position < -self.tolerance) | (position > edge - 1 + self.tolerance)
                if outside.any():
                    values.masked_fill_(torch.from_numpy(outside), 0)
        return values


def _contracted(values: Tensor, weights: Sequence[NDArray[Any] | None]) -> Tensor:
    """Weighted sums along every axis.

    Args:
        values: ``[C, N, *k]``.
        weights: for each axis ``[N, s, k]``; None leaves the axis as it is.

    Returns:
        ``[C, N, *s]``.
    """
    with torch.autocast("cpu", enabled=False):  # which would round voxels to half the precision
        for axis, weight in enumerate(weights):
            if weight is not None:
                shares = torch.from_numpy(weight).to(values.dtype)
                values = torch.einsum("cnk...,nsk->cn...s", values.movedim(axis + 2, 2), shares).movedim(-1, axis + 2)
    return values


def _least(values: NDArray[Any]) -> NDArray[Any]:
    """The smallest value of each patch."""
    return np.asarray(values.reshape(len(values), -1).min(1, initial=np.inf))


def _from(coordinates: NDArray[Any], first: NDArray[Any]) -> NDArray[Any]:
    """Coordinates ``[N, *size]`` counted from the first voxel ``[N]`` of each box."""
    return np.asarray(coordinates - first.reshape(-1, *(1,) * (coordinates.ndim - 1)))
