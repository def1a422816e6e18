"""The figure of what each place contributes to a prediction."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from scipy.ndimage import gaussian_filter

from monai_cpic.data import LazyVolume, open_volume
from monai_cpic.networks import Attribution
from monai_cpic.reporting.contribution_map import contribution_map
from monai_cpic.reporting.plots import grid
from monai_cpic.reporting.radiological_view import RadiologicalView, crowded_levels, name_directions

__all__ = ["contributions"]

SMOOTH = 6.0  # mm: patches are small, and lie apart
STRONGEST = 99.5  # percentile of the absolute values from which on colours are full


def contributions(volume: LazyVolume, found: Attribution, name: str, slices: int = 3) -> Figure:
    """What places contribute to a prediction, over the axial slices where they contribute most, and over a coronal one.

    Slices are shown in the radiological convention.  What lowers the prediction is red, what raises it blue, and stronger where
    it is more; for the picture alone the contributions are smoothed.

    Args:
        volume: a 3-D volume, whose first channel is shown.
        found: its attribution.
        name: of what is predicted, with its unit.
        slices: number of axial slices.
    """
    view = RadiologicalView(volume)
    across, front, up = view.axes
    values = contribution_map(volume, found)
    density = gaussian_filter(values / (view.spacing.prod() / 1000), SMOOTH / view.spacing)
    strongest = float(np.percentile(np.abs(density), STRONGEST)) or 1.0
    smooth = RadiologicalView(replace(open_volume(torch.from_numpy(density[None])), affine=volume.affine))
    shape = volume.shape[1:]
    others = [axis for axis in range(3) if axis != up]
    levels = crowded_levels(np.abs(values).sum(tuple(others)) / (np.abs(values).max() or 1.0), slices)
    figure, panels = grid(len(levels) + 1, columns=2, width=4.8, height=4.4)
    for axes, level in zip(panels, levels, strict=False):
        _overlay(axes, view, smooth, up, level, strongest)
        axes.set_aspect(view.spacing[front] / view.spacing[across])
        axes.set(title=f"axial, {'xyz'[up]} = {level}")
        name_directions(axes, "A", "P")
    middle = shape[front] // 2
    _overlay(panels[-1], view, smooth, front, middle, strongest)
    panels[-1].set_aspect(view.spacing[up] / view.spacing[across])
    panels[-1].set(title=f"coronal, {'xyz'[front]} = {middle}", ylim=(shape[up] - 0.5, -0.5))
    name_directions(panels[-1], "S", "I")
    colours = figure.colorbar(panels[0].images[1], ax=panels, shrink=0.6)
    colours.set_label("contribution per millilitre")
    total = float(found.values.sum())
    figure.suptitle(
        f"{name}: {found.prediction:.4g} = {found.constant:.4g} without structure {'−+'[total >= 0]} {abs(total):.4g}".replace(
            "-", "−"
        ),
        parse_math=False,
    )
    return figure


def _overlay(axes: Axes, view: RadiologicalView, smooth: RadiologicalView, axis: int, level: int, strongest: float) -> None:
    """A slice of the scan, and over it the contributions, more opaque where they are larger."""
    image, density = view.slice(axis, level)[0], smooth.slice(axis, level)[0]
    axes.imshow(image, cmap="gray", vmin=np.nanpercentile(image, 1), vmax=np.nanpercentile(image, 99))
    axes.imshow(
        density, cmap="RdBu", norm=Normalize(-strongest, strongest), alpha=np.clip(np.abs(density) / strongest, 0, 1) * 0.8
    )
    axes.set(xticks=[], yticks=[])
