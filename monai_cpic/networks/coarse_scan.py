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
PRECISION = torch.float64


def coarse_scan(volumes: Sequence[Volume], spatial_shape: Sequence[int]) -> Tensor:
    """Means of volumes over coarse cells, and a summary of each volume.

    The grid is divided into equal cells, nearly cubes, of the smallest of which there are at most 16 384.  A volume lies in the
    middle of the grid, and outside it is 0: so a cell is the same place in millimetres in all scans, and those at the border tell
    how large a scan is.  The :func:`~monai_cpic.networks.scan_summary` is that of means over as many equal parts of the volume.

    Both are averages of one level of the pyramid (:meth:`~monai_cpic.data.LazyVolume.in_blocks`), along each axis the coarsest
    of which at least two blocks fit into a part of the volume.  Blocks that lie in two cells count in each by what lies there.

    Args:
        volumes: ``B`` volumes with the same number of channels, not larger than the grid.
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
    edges = [1 << max(1, size // (2 * count)).bit_length() - 1 for size, count in zip(shape, counts, strict=True)]
    level = volume.in_blocks(tuple(edges))
    middle = torch.tensor([[size // 2 for size in level.shape[1:]]], device="cpu")
    blocks = finite_patches(level, middle, level.shape[1:])[0].to(PRECISION)  # [C, *blocks]
    cells = _means(blocks, shape, edges, counts, spatial_shape)
    parts = _means(blocks, shape, edges, counts, shape)
    extents = constant(shape, blocks).to(PRECISION) / constant(spatial_shape, blocks)
    return torch.cat([cells.flatten(), scan_summary(parts.flatten(1), extents)])


def _means(blocks: Tensor, shape: Sequence[int], edges: Sequence[int], counts: Sequence[int], extents: Sequence[int]) -> Tensor:
    """Means ``[C, *counts]`` over equal cells of a space of so many voxels, in whose middle the volume lies."""
    for axis, (size, edge, count, extent) in enumerate(zip(shape, edges, counts, extents, strict=True), 1):
        ends = (edge * torch.arange(1 - (-size // edge), device=blocks.device)).clamp(max=size)  # of blocks, in voxels
        borders = extent / count * torch.arange(count + 1, dtype=PRECISION, device=blocks.device) - (extent - size) / 2
        shared = torch.minimum(ends[1:], borders[1:, None]) - torch.maximum(ends[:-1], borders[:-1, None])
        blocks = (blocks.movedim(axis, -1) @ (shared.clamp(min=0) * count / extent).mT).movedim(-1, axis)
    return blocks
