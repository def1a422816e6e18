"""Cubic spline interpolation of patches: the spline of the whole volume, for which only a neighbourhood is read.

The coefficients of a spline that interpolates the voxels are the result of a recursive filter over all voxels.  Its response
decays by a factor 0.27 per voxel, so a coefficient is a weighted sum of the voxels within :data:`REACH`.

Source: M. Unser, A. Aldroubi, M. Eden: B-spline signal processing, IEEE Transactions on Signal Processing 41 (1993) 821–848.
Outside the volume, voxels are extrapolated as in :mod:`scipy.ndimage`, which MONAI uses.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

__all__ = ["REACH", "confined", "interpolate", "spline_box", "spline_line"]

POLE = math.sqrt(3) - 2
REACH = {torch.float32: 10, torch.float64: 20}  # voxels: those farther away have weights below 1e-5 or 1e-11
REPEATED = 12  # copies of the border that scipy appends before it filters


def spline_line(
    coordinates: NDArray[Any], edge: int, padding_mode: str, reach: int, tolerance: float
) -> tuple[NDArray[Any], NDArray[Any]]:
    """The voxels and weights of interpolation along one axis.

    Args:
        coordinates: float64 ``[N, s]``.
        edge: voxels along the axis.
        padding_mode: ``"border"`` repeats the border; ``"zeros"`` mirrors the volume (the caller sets values outside to 0).
        reach: number of voxels beyond the neighbours.
        tolerance: a coordinate this close to a voxel is that voxel.

    Returns:
        int64 indices ``[N, k]`` within the axis and weights ``[N, s, k]``.

    Example:
        >>> indices, weights = spline_line(np.array([[4.0, 4.5]]), 10, "border", 20, 1e-10)
        >>> (weights * np.ones(10)[indices][:, None]).sum(2).round(9).tolist()
        [[1.0, 1.0]]
        >>> (weights * np.arange(10)[indices][:, None]).sum(2).round(2).tolist()
        [[4.0, 4.5]]
    """
    nearest = np.rint(coordinates)
    exact = np.abs(coordinates - nearest).max(initial=0) < tolerance  # a spline goes through the voxels
    if exact and (padding_mode == "zeros" or np.abs(nearest - (edge - 1) / 2).max(initial=0) <= (edge - 1) / 2 + REPEATED):
        return nearest.astype(np.int64).clip(0, edge - 1), np.eye(coordinates.shape[1])[None].repeat(len(coordinates), 0)
    coordinates = confined(coordinates, edge, padding_mode)
    lower = np.floor(coordinates).astype(np.int64)
    nodes = lower[..., None] + np.arange(-1, 3)
    first = lower.min(1) - 1
    count = int((lower.max(1) - first).max()) + 3
    stored, response = spline_box(first, count, edge, padding_mode, reach)
    shares = _basis(coordinates[..., None] - nodes)
    weights = np.zeros((*coordinates.shape, count))
    np.put_along_axis(weights, nodes - first[:, None, None], shares, 2)
    return stored, weights @ response


def spline_box(first: NDArray[Any], count: int, edge: int, padding_mode: str, reach: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """The voxels and weights of the coefficients of ``count`` voxels in a row.

    Args:
        first: the first voxel of each row, int64 ``[N]``, inside the volume or not.
        count: coefficients per row.
        edge: see :func:`spline_line`.
        padding_mode: see :func:`spline_line`.
        reach: see :func:`spline_line`.

    Returns:
        int64 indices ``[N, count + 2 reach]`` within the axis and weights ``[N, count, count + 2 reach]``.
    """
    voxels = first[:, None] + np.arange(-reach, count + reach)
    nodes = voxels[:, reach : count + reach]
    if padding_mode == "border":  # scipy has no coefficients beyond the copies of the border
        nodes = nodes.clip(-REPEATED, edge - 1 + REPEATED)
        length = edge + 2 * REPEATED
        mirrored = (voxels + REPEATED) % (2 * length)
        stored = np.minimum(mirrored, 2 * length - 1 - mirrored) - REPEATED
    else:
        mirrored = voxels % max(2 * (edge - 1), 1)
        stored = np.minimum(mirrored, 2 * (edge - 1) - mirrored)
    distances = np.abs(nodes[:, :, None] - voxels[:, None])
    return stored.clip(0, edge - 1), math.sqrt(3) * (POLE ** np.arange(distances.max(initial=0) + 1))[distances]


def interpolate(coefficients: Tensor, coordinates: NDArray[Any]) -> Tensor:
    """Evaluate splines, ``[C, N, *size]``.

    Args:
        coefficients: ``[C, N, *k]``.
        coordinates: within each box and not at its border, float64 ``[D, N, *size]``.
    """
    options: dict[str, Any] = {"order": 3, "prefilter": False, "mode": "mirror", "output": coefficients.numpy().dtype}
    boxes = [
        [ndimage.map_coordinates(box, coordinates[:, n], **options) for n, box in enumerate(channel)]
        for channel in coefficients.numpy()
    ]
    return torch.from_numpy(np.array(boxes))


def confined(coordinates: NDArray[Any], edge: int, padding_mode: str) -> NDArray[Any]:
    """Clamp coordinates along one axis to the range outside of which the spline is constant."""
    margin = REPEATED + 1 if padding_mode == "border" else 0
    return coordinates.clip(-margin, edge - 1 + margin)


def _basis(distances: NDArray[Any]) -> NDArray[Any]:
    """The cubic B-spline as a function of the distance from its centre."""
    x = np.abs(distances)
    return np.asarray(np.where(x < 1, 2 / 3 - x**2 + x**3 / 2, (2 - x).clip(0) ** 3 / 6))
