"""Contributions to a prediction as a volume, and as a NIfTI file on the scan's own grid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import affine_transform

from monai_cpic.data import LazyVolume
from monai_cpic.data.pyramid.geometry import factors_of_step, level_shape
from monai_cpic.networks import Attribution
from monai_cpic.staging import write_whole

__all__ = ["contribution_map", "write_contribution_map"]


def contribution_map(volume: LazyVolume, found: Attribution) -> NDArray[np.float64]:
    """The contribution of each voxel of the grid on which a volume is seen; their sum is that of the contributions.

    What a patch contributes beyond the border of the volume belongs to the voxels at the border, which were repeated there.

    Args:
        volume: the volume.
        found: its attribution.
    """
    shape = volume.shape[1:]
    spacing = volume.affine[:-1, :-1].norm(dim=0).numpy()
    edges = found.shares.shape[2:]
    offsets = np.stack(np.meshgrid(*(np.arange(edge) - edge // 2 for edge in edges), indexing="ij"), -1).reshape(-1, len(edges))
    total = np.zeros(shape)
    for level, step in enumerate(found.steps):
        factors = factors_of_step(step, spacing)
        blocks = level_shape(shape, factors)
        where = (found.points.numpy() // factors)[:, None] + offsets
        places = np.ravel_multi_index(tuple(where.clip(0, np.array(blocks) - 1).reshape(-1, len(blocks)).T), blocks)
        sums = np.bincount(places, found.shares[:, level].reshape(-1).numpy(), minlength=int(np.prod(blocks)))
        total += _voxels_of_blocks(sums.astype(np.float64).reshape(blocks), factors, shape)
    return total


def write_contribution_map(path: str | Path, volume: LazyVolume, found: Attribution) -> None:
    """Write contributions as NIfTI on the grid of the stored scan, completely or not at all; missing folders are created.

    The values are densities: contribution per millilitre.  Their integral over the scan is the sum of the contributions, whatever
    the grid; each voxel has the value of the nearest voxel that the network saw.

    Args:
        path: the file, ``.nii`` or ``.nii.gz``.
        volume: a 3-D volume.
        found: its attribution, in the unit of the file.
    """
    affine = volume.affine.numpy()
    density = contribution_map(volume, found) / (abs(np.linalg.det(affine[:3, :3])) / 1000)  # mm³ to ml
    if volume.sampling is not None:
        matrix = np.linalg.inv(volume.sampling.matrix)  # from stored voxels to those of the grid
        density = affine_transform(density, matrix, output_shape=volume.source.shape[1:], order=0, mode="grid-constant")
        affine = affine @ matrix
    image = nibabel.Nifti1Image(density.astype(np.float32), affine)
    image.header.set_xyzt_units("mm")
    with write_whole(Path(path)) as unfinished:
        nibabel.save(image, unfinished)


def _voxels_of_blocks(blocks: NDArray[np.float64], factors: tuple[int, ...], shape: tuple[int, ...]) -> NDArray[Any]:
    """The sum of each block, shared by its voxels."""
    for axis, (factor, size) in enumerate(zip(factors, shape, strict=True)):
        block = np.arange(size) // factor
        voxels = np.bincount(block)[block].reshape([-1 if other == axis else 1 for other in range(len(shape))])
        blocks = blocks.take(block, axis) / voxels
    return blocks
