"""The grid that a network is built for, and the volumes it takes."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from monai_cpic.data import Volume

__all__ = ["check_volume", "finite_patches"]


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
    bad = ~patches.isfinite().flatten(1).all(1)
    if bad.any():
        raise ValueError(
            f"{volume.key or 'a volume'} has voxels that are NaN or infinite in the patch around {points[bad][0].tolist()}: "
            "correct the scan, its affine or its transforms"
        )
    return patches
