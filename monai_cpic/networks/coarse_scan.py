"""The whole scan at low resolution, beside the few voxels that are encoded at full resolution."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from monai_cpic.data import Volume
from monai_cpic.devices import constant
from monai_cpic.networks.grid import finite_patches

__all__ = ["coarse_scan", "coarse_size"]

VALUES = 2**14  # of a channel, at most


def coarse_scan(volumes: Sequence[Volume], spatial_shape: Sequence[int]) -> Tensor:
    """Means of volumes around the centres of coarse cells, and the extents of the volumes.

    The cells are cubes in the grid, the smallest of which there are at most 16 384, and equal parts of each volume.  Blocks of a
    level of the pyramid are averaged (:meth:`~monai_cpic.data.LazyVolume.coarser`), of the finest whose blocks are no shorter
    than a cell: no voxel is left out, but for some of the last half cell of an axis.

    Args:
        volumes: ``B`` volumes with the same number of channels.
        spatial_shape: the grid of the network, ``D`` sizes.

    Returns:
        ``[B, coarse_size(spatial_shape, C)]``, float64, on the device of the volumes: the means, cell by cell, of each channel in
        turn, then the logarithm of the share of each axis of the grid that the volume fills.

    Raises:
        ValueError: if a voxel is NaN or infinite.

    Example:
        >>> from monai_cpic.data import open_volume
        >>> coarse_scan([open_volume(torch.ones(1, 16, 32, 32))], (32, 32, 32)).shape
        torch.Size([1, 15628])
    """
    return torch.stack([_of_volume(volume, spatial_shape) for volume in volumes])


def coarse_size(spatial_shape: Sequence[int], channels: int) -> int:
    """The number of values of :func:`coarse_scan`."""
    return channels * math.prod(_cells(spatial_shape)[1]) + len(spatial_shape)


def _cells(spatial_shape: Sequence[int]) -> tuple[int, list[int]]:
    """The edge of the cells in eighths of a voxel (all machines divide integers alike), and their number along each axis."""
    for edge in itertools.count(8):
        counts = [max(1, 8 * size // edge) for size in spatial_shape]
        if math.prod(counts) <= VALUES:
            break
    return edge, counts


def _of_volume(volume: Volume, spatial_shape: Sequence[int]) -> Tensor:
    shape, (edge, counts) = volume.shape[1:], _cells(spatial_shape)
    cells = torch.cartesian_prod(*(torch.arange(count, device="cpu") for count in counts)).reshape(-1, len(counts))
    centres = (2 * cells + 1) * constant(shape, cells) // (2 * constant(counts, cells))
    step = 1 << (math.ceil(edge / 8) - 1).bit_length()
    means = finite_patches(volume, centres, 1, (step,)).double()  # [cells, C, 1, …]
    filled = constant(shape, means) / constant(spatial_shape, means)
    return torch.cat([means.flatten(1).mT.flatten(), filled.log()])
