"""Slices of a scan as radiologists see them."""

from __future__ import annotations

from typing import Any

import nibabel
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from monai_cpic.data import LazyVolume

__all__ = ["NEAR", "RadiologicalView", "crowded_levels", "name_directions"]

NEAR = 2  # what lies at a distance of at most so many slices counts for a slice


class RadiologicalView:
    """Slices of a volume with the patient's right on the left, and anterior or superior up, whatever the order of the voxels.

    Args:
        volume: a 3-D volume, whose affine defines the orientation of the patient.

    Attributes:
        axes: the voxel axes along left-right, front-back and up-down.
        spacing: spacing of the voxels along each voxel axis, mm.
    """

    def __init__(self, volume: LazyVolume) -> None:
        self.volume = volume
        affine = volume.affine.numpy()
        self.spacing: NDArray[Any] = np.linalg.norm(affine[:3, :3], axis=0)
        orientation = nibabel.orientations.io_orientation(affine)  # world axis and direction of each voxel axis
        self.axes = [int(axis) for axis in orientation[:, 0].argsort()]
        self.mirrored = orientation[:, 1] > 0  # indices increase to the right, front or head; pixels to the left, back or feet

    def slice(self, axis: int, level: int) -> NDArray[Any]:
        """The slice across a voxel axis, float32 ``[C, height, width]``."""
        size = list(self.volume.shape[1:])
        centre = [edge // 2 for edge in size]
        size[axis], centre[axis] = 1, int(level)
        patch = self.volume.gather(torch.tensor([centre]), size)[0].cpu().numpy()
        width, height = (other for other in self.axes if other != axis)
        flips = tuple(1 + other for other in (width, height) if self.mirrored[other])
        return np.flip(patch, flips).transpose(0, 1 + height, 1 + width, 1 + axis)[..., 0]

    def pixels(self, points: NDArray[Any], axis: int) -> NDArray[Any]:
        """The pixel coordinates, along one voxel axis, of voxels ``[N, 3]`` in a slice."""
        return self.volume.shape[1 + axis] - 1 - points[:, axis] if self.mirrored[axis] else points[:, axis]


def name_directions(axes: Axes, top: str, bottom: str) -> None:
    """Write the patient's directions at the edges of a slice: R and L at the sides, the given letters above and below."""
    for x, y, letter in ((0.02, 0.5, "R"), (0.98, 0.5, "L"), (0.5, 0.98, top), (0.5, 0.02, bottom)):
        vertical = {0.98: "top", 0.02: "bottom"}.get(y, "center")
        horizontal = {0.98: "right", 0.02: "left"}.get(x, "center")
        text = axes.text(x, y, letter, transform=axes.transAxes, color="white", fontweight="bold", ha=horizontal, va=vertical)
        text.set_path_effects([withStroke(linewidth=3, foreground="black")])


def crowded_levels(counts: NDArray[Any], number: int) -> list[int]:
    """The levels with most points (or the largest sums of anything) near them, ascending, at a distance from each other.

    The middle is preferred among equals.
    """
    levels = np.arange(len(counts))
    weights = 1 + NEAR - np.abs(np.arange(-NEAR, NEAR + 1))  # points on a level count more than points beside it
    near = np.convolve(counts, weights)[NEAR : NEAR + len(counts)].astype(float)
    near -= np.abs(levels - (len(counts) - 1) / 2) / len(counts)  # distance from the middle, which counts less than one point
    chosen: list[int] = []
    distance = max(1, len(counts) // (2 * number))
    for _ in range(min(number, len(counts))):
        chosen.append(int(near.argmax()))
        near[np.abs(levels - chosen[-1]) < distance] = -np.inf
    return sorted(chosen)
