"""The grid that a network is built for, and the volumes it takes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from monai_cpic.data import Volume
from monai_cpic.devices import ensure

__all__ = ["check_volume", "finite_patches", "points_by_volume", "unravelled"]


def check_volume(volume: Volume, in_channels: int, spatial_shape: Sequence[int]) -> None:
    """Refuse a volume that does not fit a network's grid; a smaller one is padded by its border.

    Args:
        volume: the volume.
        in_channels: number of channels that the network takes.
        spatial_shape: the network's grid.

    Raises:
        ValueError: if the volume has another number of channels, or is larger than the grid.
    """
    channels, *shape = volume.shape
    if channels != in_channels:
        raise ValueError(f"{volume.key or 'a volume'} has {channels} channels, the network takes {in_channels}")
    if len(shape) != len(spatial_shape) or any(n > m for n, m in zip(shape, spatial_shape, strict=True)):
        raise ValueError(
            f"{volume.key or 'a volume'} has the shape {tuple(shape)}, larger than the grid {tuple(spatial_shape)}; resample "
            "or crop it lazily, or build the network with a larger spatial_shape"
        )


def finite_patches(volume: Volume, points: Tensor, size: int | Sequence[int], steps: Sequence[int] = (1,)) -> Tensor:
    """Patches of a volume as :meth:`~monai_cpic.data.Volume.gather` reads them, none of which may teach a network NaN.

    Raises:
        ValueError: if a voxel is NaN or infinite.
    """
    patches = volume.gather(points, size, steps=steps)
    good = patches.isfinite().flatten(1).all(1)
    ensure(
        good,
        lambda: ValueError(
            f"{volume.key or 'a volume'} has voxels that are NaN or infinite in the patch around "
            f"{points[~good.to(points.device)][0].tolist()} of {tuple(volume.shape[1:])}: correct the scan, its affine or its "
            "transforms"
        ),
    )
    return patches


def points_by_volume(keys: Tensor, volumes: int, spatial_shape: Sequence[int]) -> list[Tensor]:
    """For each volume of a batch, the distinct grid points ``[N_b, D]`` of keys (``LatentField.encoded``)."""
    if not volumes:  # before the first call
        return []
    keys, size = keys.unique(), math.prod(spatial_shape)
    ends = torch.searchsorted(keys, size * torch.arange(1, volumes, device=keys.device))
    return list(unravelled(keys % size, spatial_shape).tensor_split(ends.cpu()))


def unravelled(flat: Tensor, shape: Sequence[int]) -> Tensor:
    """Grid points ``[N, D]`` of row-major positions; :func:`torch.unravel_index` would wait for an accelerator."""
    return torch.stack([flat // math.prod(shape[axis + 1 :]) % edge for axis, edge in enumerate(shape)], -1)
