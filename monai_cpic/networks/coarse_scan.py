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
from monai_cpic.networks.scan_summary import scan_summary, summary_size

__all__ = ["coarse_scan", "coarse_size"]

VALUES = 2**14  # of a channel, at most


def coarse_scan(volumes: Sequence[Volume], spatial_shape: Sequence[int]) -> Tensor:
    """Means of volumes around the centres of coarse cells, and a summary of each volume.

    The cells are nearly cubes in the grid, the smallest of which there are at most 16 384, and equal parts of each volume.
    Blocks of a level of the pyramid are averaged (:meth:`~monai_cpic.data.LazyVolume.in_blocks`), along each axis of the finest
    whose blocks are no shorter than a cell of the volume: no voxel is left out, but for some of the last half cell of an axis,
    and of volumes that are too large to be averaged.

    Args:
        volumes: ``B`` volumes with the same number of channels.
        spatial_shape: the grid of the network, ``D`` sizes.

    Returns:
        ``[B, coarse_size(spatial_shape, C)]``, float64, on the device of the volumes: the means, cell by cell, of each channel in
        turn, then their :func:`~monai_cpic.networks.scan_summary`.

    Raises:
        ValueError: if a voxel is NaN or infinite.

    Example:
        >>> from monai_cpic.data import open_volume
        >>> coarse_scan([open_volume(torch.ones(1, 16, 32, 32))], (32, 32, 32)).shape
        torch.Size([1, 15638])
    """
    return torch.stack([_of_volume(volume, spatial_shape) for volume in volumes])


def coarse_size(spatial_shape: Sequence[int], channels: int) -> int:
    """The number of values of :func:`coarse_scan`."""
    return channels * math.prod(_cells(spatial_shape)) + summary_size(channels, len(spatial_shape))


def _cells(spatial_shape: Sequence[int]) -> list[int]:
    """The number of cells along each axis, whose edges are eighths of a voxel: all machines divide integers alike."""
    for edge in itertools.count(8):
        counts = [max(1, 8 * size // edge) for size in spatial_shape]
        if math.prod(counts) <= VALUES:
            break
    return counts


def _of_volume(volume: Volume, spatial_shape: Sequence[int]) -> Tensor:
    shape, counts = volume.shape[1:], _cells(spatial_shape)
    cells = torch.cartesian_prod(*(torch.arange(count, device="cpu") for count in counts)).reshape(-1, len(counts))
    centres = (2 * cells + 1) * constant(shape, cells) // (2 * constant(counts, cells))
    edges = tuple(1 << (-(-size // count) - 1).bit_length() for size, count in zip(shape, counts, strict=True))
    means = finite_patches(volume.in_blocks(edges), centres // constant(edges, cells), 1).double()  # [cells, C, 1, …]
    means = means.flatten(1).mT
    return torch.cat([means.flatten(), scan_summary(means, constant(shape, means).double() / constant(spatial_shape, means))])
