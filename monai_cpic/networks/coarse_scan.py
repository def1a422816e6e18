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
TILE = 4  # blocks along each axis that are read together: more of a huge store may touch more chunks than its cache holds
PRECISION = torch.float64


def coarse_scan(volumes: Sequence[Volume], spatial_shape: Sequence[int]) -> Tensor:
    """Means of volumes over coarse cells of the grid and over as many parts of the volume, and a summary of each volume.

    The grid is divided into equal cells that are nearly cubes, as many as possible up to 16 384.  A volume lies in the middle of
    the grid, and outside it is 0: if all scans have one spacing, a cell is at the same distance from their middle in millimetres,
    and the cells at the border tell how large a scan is.  Each volume by itself is divided into as many equal parts: a part is
    at the same share of the field of view in all scans, whatever their spacing.  The :func:`~monai_cpic.networks.scan_summary` is
    that of the parts.

    All of them are made of one level of the pyramid (:meth:`~monai_cpic.data.LazyVolume.in_blocks`), of which a part has two to
    four blocks along each axis, or single voxels if it is smaller.  Blocks that lie in two cells count in each by what lies
    there.  So every voxel counts the same, unless a volume is resampled, which happens at the centres of blocks, or so large
    that it is not averaged.

    Args:
        volumes: ``B`` volumes with the same number of channels, not larger than the grid.
        spatial_shape: the grid of the network, ``D`` sizes.

    Returns:
        ``[B, coarse_size(spatial_shape, C)]``, float64, on the device of the volumes: the cells of each channel in turn, then the
        parts of each channel, then their summary.

    Raises:
        ValueError: if a block is NaN or infinite, or a volume is padded by zeros
            (:meth:`~monai_cpic.data.LazyVolume.in_blocks`).
        OSError: if the cache is too small for the means over blocks.

    Example:
        >>> from monai_cpic.data import open_volume
        >>> coarse_scan([open_volume(torch.ones(1, 16, 32, 32))], (32, 32, 32)).shape
        torch.Size([1, 31263])
    """
    return torch.stack([_of_volume(volume, spatial_shape) for volume in volumes])


def coarse_size(spatial_shape: Sequence[int], channels: int) -> int:
    """The number of values of :func:`coarse_scan`."""
    return 2 * channels * math.prod(_cells(spatial_shape)) + summary_size(channels, len(spatial_shape))


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
    blocks = _whole(volume.in_blocks(tuple(edges))).to(PRECISION)
    cells = _means(blocks, shape, edges, counts, spatial_shape)
    parts = _means(blocks, shape, edges, counts, shape).flatten(1)
    extents = constant(shape, blocks).to(PRECISION) / constant(spatial_shape, blocks)
    return torch.cat([cells.flatten(), parts.flatten(), scan_summary(parts, extents)])


def _whole(volume: Volume) -> Tensor:
    """All voxels ``[C, *spatial]``."""
    channels, *shape = volume.shape
    counts = [-(-size // TILE) for size in shape]
    corners = TILE * torch.cartesian_prod(*(torch.arange(count, device="cpu") for count in counts)).reshape(-1, len(shape))
    tiles = finite_patches(volume, corners + TILE // 2, TILE).unflatten(0, counts)  # [*counts, C, *tile]
    order = [axis + part * (len(shape) + 1) for axis in range(len(shape)) for part in (0, 1)]
    joined = tiles.permute(len(shape), *order).reshape(channels, *(TILE * count for count in counts))
    return joined[(slice(None), *(slice(size) for size in shape))]


def _means(blocks: Tensor, shape: Sequence[int], edges: Sequence[int], counts: Sequence[int], extents: Sequence[int]) -> Tensor:
    """Means ``[C, *counts]`` over equal cells of a space of so many voxels, in whose middle the volume lies."""
    for axis, (size, edge, count, extent) in enumerate(zip(shape, edges, counts, extents, strict=True), 1):
        ends = (edge * torch.arange(1 - (-size // edge), device=blocks.device)).clamp(max=size)  # of blocks, in voxels
        borders = extent / count * torch.arange(count + 1, dtype=PRECISION, device=blocks.device) - (extent - size) / 2
        shared = torch.minimum(ends[1:], borders[1:, None]) - torch.maximum(ends[:-1], borders[:-1, None])
        blocks = (blocks.movedim(axis, -1) @ (shared.clamp(min=0) * count / extent).mT).movedim(-1, axis)
    return blocks
