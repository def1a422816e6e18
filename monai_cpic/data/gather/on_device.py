"""Reading patches of voxels that are a tensor, where they are: no value is copied to the host.

It gives what :class:`~monai_cpic.data.Sampling` reads from files and arrays, by index arithmetic that suits an accelerator: one
formula for every map, and single voxels instead of blocks.  Of a map that does not mix axes the coordinates along an axis do not
depend on the others, and broadcasting keeps them short.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from monai_cpic.data.gather.interpolation import MODES, TOLERANCE
from monai_cpic.data.gather.sampling import VOXELS_PER_READ, Sampling

__all__ = ["patches_on_device"]


class _Taps(NamedTuple):
    """What interpolation along one stored axis needs; all broadcast to ``[N, *size]``.

    Attributes:
        coordinates: in stored voxels, int64 where they are whole numbers, else float64.
        neighbours: one or two indices, int64, which may lie outside the volume.
        weight: of the second one.
    """

    coordinates: Tensor
    neighbours: Sequence[Tensor]
    weight: Tensor | None


def patches_on_device(
    stored: Tensor,
    true: Callable[[Tensor, torch.dtype], Tensor],
    sampling: Sampling,
    starts: Tensor,
    size: Sequence[int],
    dtype: torch.dtype,
) -> Tensor:
    """Read patches by nearest neighbours or linear interpolation.

    Args:
        stored: ``[C, *spatial]``, any strides.
        true: true values of stored numbers in a dtype.
        sampling: the grid, not interpolated by cubic splines (:attr:`~monai_cpic.data.Sampling.cubic`).
        starts: first voxels on the output grid, int64 ``[N, D]``, on the device of the voxels.
        size: ``D`` edge lengths.
        dtype: of the interpolation and the result, float32 or float64.

    Returns:
        ``[N, C, *size]``.
    """
    step = max(1, VOXELS_PER_READ // (math.prod(size) * len(stored)))
    parts = [_patches(stored, true, sampling, part, tuple(size), dtype) for part in starts.split(step)]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _patches(
    stored: Tensor,
    true: Callable[[Tensor, torch.dtype], Tensor],
    sampling: Sampling,
    starts: Tensor,
    size: tuple[int, ...],
    dtype: torch.dtype,
) -> Tensor:
    axes, edges = len(size), stored.shape[1:]
    grids = []
    for axis, (edge, length) in enumerate(zip(size, sampling.shape, strict=True)):
        line = (starts[:, axis, None] + torch.arange(edge, device=starts.device)).clamp(0, length - 1)
        grids.append(line.reshape(len(starts), *(edge if d == axis else 1 for d in range(axes))))
    taps = [_taps(row, grids, sampling, dtype) for row in sampling.matrix[:-1]]
    zeros, named = sampling.padding_mode == "zeros", isinstance(sampling.mode, str)

    def read(indices: Sequence[Tensor]) -> Tensor:
        inside = [index.clamp(0, edge - 1) for index, edge in zip(indices, edges, strict=True)]
        key: tuple[slice | Tensor, ...] = (slice(None), *inside)
        voxels = true(stored[key], dtype)
        if zeros and named:  # voxels outside are 0, so that values fade to 0 over a voxel
            for index, within in zip(indices, inside, strict=True):
                voxels = voxels.masked_fill(index != within, 0)
        return voxels

    def interpolated(chosen: tuple[Tensor, ...]) -> Tensor:
        if len(chosen) == axes:
            return read(chosen)
        _, neighbours, weight = taps[len(chosen)]
        lower = interpolated((*chosen, neighbours[0]))
        return lower if weight is None else torch.lerp(lower, interpolated((*chosen, neighbours[1])), weight)

    patches = interpolated(())
    if zeros and not named:  # values are 0 as soon as they lie outside
        for (coordinates, *_), edge in zip(taps, edges, strict=True):
            outside = (coordinates < -TOLERANCE[dtype]) | (coordinates > edge - 1 + TOLERANCE[dtype])
            patches = patches.masked_fill(outside, 0)
    return patches.transpose(0, 1)


def _taps(row: NDArray[np.float64], grids: Sequence[Tensor], sampling: Sampling, dtype: torch.dtype) -> _Taps:
    """The neighbours along one stored axis, from a row of the matrix and the coordinates ``[N, …]`` on the output grid."""
    if (row == np.round(row)).all():
        terms = [int(a) * grid for a, grid in zip(row[:-1], grids, strict=True) if a]
        coordinates = torch.stack(torch.broadcast_tensors(*terms)).sum(0) + int(row[-1])
        return _Taps(coordinates, [coordinates], None)
    moving = np.abs(row[:-1]) * sampling.shape > TOLERANCE[dtype]
    coordinates = grids[0].new_zeros((1,) * grids[0].ndim, dtype=torch.float64)
    for a, grid, moves in zip(row[:-1].tolist(), grids, moving, strict=True):
        if moves:
            coordinates = coordinates + a * grid.double()
    coordinates = coordinates + float(row[-1])
    nearest = coordinates.round()
    if MODES[sampling.mode] == 0:  # halfway between two voxels, torch takes the even one and scipy the upper one
        index = (nearest if sampling.mode == "nearest" else (coordinates + 0.5).floor()).long()
        return _Taps(coordinates, [index], None)
    coordinates = torch.where((coordinates - nearest).abs() < TOLERANCE[dtype], nearest, coordinates)
    lower = coordinates.floor()
    return _Taps(coordinates, [lower.long(), lower.long() + 1], (coordinates - lower).to(dtype))
