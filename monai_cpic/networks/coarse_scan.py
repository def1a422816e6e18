"""The whole scan at low resolution, beside the few voxels that are encoded at full resolution."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from monai_cpic.data import Volume
from monai_cpic.devices import constant
from monai_cpic.networks.decompositions.random_cells import cell_counts
from monai_cpic.networks.grid import finite_patches

__all__ = ["coarse_scan", "coarse_size"]

VALUES = 2**14  # of a channel, at most


def coarse_scan(volumes: Sequence[Volume], spatial_shape: Sequence[int]) -> Tensor:
    """Means of volumes around the centres of coarse cells, and the extents of the volumes.

    The cells are equal parts of each volume, as those of :class:`~monai_cpic.networks.ScanCross` are.  The blocks that are
    averaged are the largest that are no longer than a cell of the grid (:meth:`~monai_cpic.data.LazyVolume.coarser`), so that
    nothing but a level of the pyramid is read.

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
        torch.Size([1, 16387])
    """
    return torch.stack([_of_volume(volume, spatial_shape) for volume in volumes])


def coarse_size(spatial_shape: Sequence[int], channels: int) -> int:
    """The number of values of :func:`coarse_scan`."""
    return channels * math.prod(cell_counts(spatial_shape, VALUES)) + len(spatial_shape)


def _of_volume(volume: Volume, spatial_shape: Sequence[int]) -> Tensor:
    shape, counts = volume.shape[1:], cell_counts(spatial_shape, VALUES)
    cells = torch.cartesian_prod(*(torch.arange(count, device="cpu") for count in counts)).reshape(-1, len(counts))
    centres = (2 * cells + 1) * constant(shape, cells) // (2 * constant(counts, cells))
    smallest = min(size // count for size, count in zip(spatial_shape, counts, strict=True))
    step = 1 << (smallest.bit_length() - 1)  # the largest power of two that is no longer
    means = finite_patches(volume, centres, 1, (step,)).double()  # [cells, C, 1, …]
    filled = constant(shape, means) / constant(spatial_shape, means)
    return torch.cat([means.flatten(1).mT.flatten(), filled.log()])
