"""Figures of a scan and the voxels of it that the network encoded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from monai_cpic.data import LazyVolume
from monai_cpic.reporting.plots import ORANGE, grid
from monai_cpic.reporting.radiological_view import NEAR, RadiologicalView, crowded_levels, name_directions

__all__ = ["channel_positions", "sample_positions"]

BINS = 48  # number of bins of the density along the longer side


def sample_positions(volume: LazyVolume, points: Tensor, slices: int = 3) -> Figure:
    """The encoded voxels on axial slices, and their density over a coronal slice.

    Slices are shown in the radiological convention, with the patient's right on the left and anterior up, whatever the order of
    the voxels.  Only the shown slices are read.

    Args:
        volume: a 3-D volume, whose first channel is shown.
        points: int64 ``[N, 3]``, encoded voxels; those outside the volume are counted, but not drawn.
        slices: number of axial slices, at least 1; those with most voxels near them are shown, at a distance from each other.

    Raises:
        ValueError: if the volume is not 3-D, the points are not ``[N, 3]``, or there are no slices to show.
    """
    if slices < 1:
        raise ValueError(f"expected at least 1 slice, got {slices}.")
    inside = _inside(volume, points)
    shape = np.array(volume.shape[1:])
    view = RadiologicalView(volume)
    across, front, up = view.axes
    levels = crowded_levels(np.bincount(inside[:, up], minlength=shape[up]), slices)
    images = [view.slice(up, level)[0] for level in levels] + [view.slice(front, shape[front] // 2)[0]]
    window = np.nanpercentile(np.concatenate([image.ravel() for image in images]), [1, 99])

    figure, panels = grid(len(images), columns=2, width=4.8, height=4.4)
    for axes, image in zip(panels, images, strict=True):
        axes.imshow(image, cmap="gray", vmin=window[0], vmax=window[1])
        axes.set(xticks=[], yticks=[])
    for axes, level in zip(panels, levels, strict=False):
        near = _draw_near(axes, view, inside, level)
        axes.set(title=f"axial, {'xyz'[up]} = {level}: {near:,} voxels within {NEAR} slices")

    coronal = panels[-1]
    coronal.set_aspect(view.spacing[up] / view.spacing[across])
    bin_mm = (shape * view.spacing)[[across, up]].max() / BINS
    bins = [np.arange(-0.5, shape[axis] + bin_mm / view.spacing[axis], bin_mm / view.spacing[axis]) for axis in (across, up)]
    if len(inside):
        *_, density = coronal.hist2d(
            view.pixels(inside, across), view.pixels(inside, up), bins=bins, cmin=1, cmap="plasma", alpha=0.6, norm=LogNorm()
        )
        figure.colorbar(density, ax=coronal, label=f"voxels in a column of {bin_mm:.1f} × {bin_mm:.1f} mm", shrink=0.8)
    coronal.set(title="coronal: all voxels, seen from the front", xlim=(-0.5, shape[across] - 0.5), ylim=(shape[up] - 0.5, -0.5))
    name_directions(coronal, "S", "I")
    figure.suptitle(_summary(volume, points, inside))
    return figure


def channel_positions(volume: LazyVolume, points: Tensor, names: Sequence[str]) -> Figure:
    """The encoded voxels in every channel, on the axial slice with most of them near it.

    Args:
        volume: a 3-D volume.
        points: int64 ``[N, 3]``, encoded voxels; those outside the volume are counted, but not drawn.
        names: names of the channels.

    Raises:
        ValueError: if the volume is not 3-D, the points are not ``[N, 3]``, or there is not one name per channel.
    """
    inside = _inside(volume, points)
    if len(names) != volume.shape[0]:
        raise ValueError(f"expected a name for each of {volume.shape[0]} channels, got {list(names)}.")
    view = RadiologicalView(volume)
    up = view.axes[2]
    (level,) = crowded_levels(np.bincount(inside[:, up], minlength=volume.shape[1 + up]), 1)
    figure, panels = grid(len(names), columns=4, width=3.2, height=3.5)
    near = 0
    for axes, name, image in zip(panels, names, view.slice(up, level), strict=True):
        axes.imshow(image, cmap="gray", vmin=np.nanpercentile(image, 1), vmax=np.nanpercentile(image, 99))
        axes.set(xticks=[], yticks=[], title=name)
        near = _draw_near(axes, view, inside, level)
    figure.suptitle(f"{_summary(volume, points, inside)}\naxial, {'xyz'[up]} = {level}: {near:,} voxels within {NEAR} slices")
    return figure


def _draw_near(axes: Axes, view: RadiologicalView, points: NDArray[Any], level: int) -> int:
    """Draw the voxels near an axial slice onto its image, and return their number."""
    across, front, up = view.axes
    near = points[np.abs(points[:, up] - level) <= NEAR]
    axes.set_aspect(view.spacing[front] / view.spacing[across])
    axes.scatter(view.pixels(near, across), view.pixels(near, front), s=5, color=ORANGE, alpha=0.5, linewidth=0)
    name_directions(axes, "A", "P")
    return len(near)


def _inside(volume: LazyVolume, points: Tensor) -> NDArray[Any]:
    """The points that lie inside the volume."""
    shape = np.array(volume.shape[1:])
    if len(shape) != 3 or points.ndim != 2 or points.shape[1] != 3:
        raise ValueError(
            f"expected a volume (C, X, Y, Z) and points [N, 3], got {tuple(volume.shape)} and {tuple(points.shape)}."
        )
    positions = points.cpu().numpy()
    return positions[((positions >= 0) & (positions < shape)).all(1)]


def _summary(volume: LazyVolume, points: Tensor, inside: NDArray[Any]) -> str:
    """The number of encoded voxels, as a text."""
    total, outside = int(np.prod(volume.shape[1:])), len(points) - len(inside)
    return f"{len(inside):,} of {total:,} voxels ({100 * len(inside) / total:.3f} %)" + (
        f"; {outside:,} points lie outside the volume and are not drawn" if outside else ""
    )
