"""Figures of a report: what was learned, what is predicted, and where the network looked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import nibabel
import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["fvc_curves", "learning_curves", "predicted_against_measured", "sample_positions"]

# of the palette of Okabe and Ito, which all kinds of colour vision tell apart
BLUE, ORANGE, VERMILLION, GREY = "#0072B2", "#E69F00", "#D55E00", "#6E6E6E"
NEAR = 2  # a voxel is drawn on a slice at most so many slices away
BINS = 48  # of the density, along the longer side


class Volume(Protocol):
    """What is needed of a scan; :class:`~monai_cpic.data.LazyVolume` has it."""

    @property
    def shape(self) -> Sequence[int]:
        """``(C, X, Y, Z)``."""

    def gather(self, centres: Tensor, size: Sequence[int]) -> Tensor:
        """Cubes ``[N, C, *size]`` that begin at ``centre - size // 2``."""


def learning_curves(history: Sequence[Mapping[str, float]]) -> Figure:
    """The loss and every metric over the epochs, each in a panel of its own.

    Args:
        history: rows with ``epoch`` and any other numbers; a metric may be missing in some of them.

    Example:
        >>> figure = learning_curves([{"epoch": 1, "loss": 0.9}, {"epoch": 2, "loss": 0.5, "score": -7.1}])
        >>> [axes.get_title() for axes in figure.axes]
        ['loss', 'score']
    """
    names = list(dict.fromkeys(name for row in history for name in row if name != "epoch"))
    if not names:
        return _only_text("No epoch was recorded.")
    figure, panels = _grid(len(names), columns=3, width=3.6, height=2.9, xlabel="epoch", sharex=True)
    for position, (axes, name) in enumerate(zip(panels, names, strict=True)):
        rows = [row for row in history if name in row]
        axes.plot([row["epoch"] for row in rows], [row[name] for row in rows], ".-", color=(BLUE, VERMILLION)[position > 0])
        axes.set_title(name.replace("_", " "))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
    return figure


def predicted_against_measured(table: pd.DataFrame) -> Figure:
    """Predicted medians and intervals over the measured FVC, and how good they are.

    Args:
        table: columns ``FVC_measured``, ``q20``, ``q50`` and ``q80`` in ml; rows without a measurement are left out.
    """
    table = table.dropna(subset="FVC_measured")
    if table.empty:
        return _only_text("No visit has a measurement to compare with.")
    measured, low, median, high = (table[name].to_numpy(float) for name in ("FVC_measured", "q20", "q50", "q80"))
    error = measured - median
    spread = np.square(measured - measured.mean()).sum()
    r2 = f"{1 - np.square(error).sum() / spread:.3f}" if spread > 0 else "not defined"
    covered = np.mean((low <= measured) & (measured <= high))

    figure = Figure(figsize=(7, 7), layout="constrained")
    axes = figure.subplots()
    limits = [min(measured.min(), low.min(), median.min()), max(measured.max(), high.max(), median.max())]
    axes.axline((limits[0], limits[0]), slope=1, color=GREY, linewidth=1, label="predicted = measured")
    axes.vlines(measured, low, high, color=BLUE, alpha=0.3, linewidth=1, label="20 to 80 % interval")
    axes.scatter(measured, median, s=16, color=BLUE, alpha=0.8, linewidth=0, label="median")
    axes.set(
        title=f"R² = {r2}, MAE = {np.abs(error).mean():.0f} ml\n"
        f"{100 * covered:.0f} % of {len(table)} measurements lie in their 20 to 80 % interval (60 % expected)",
        xlabel="measured FVC (ml)",
        ylabel="predicted FVC (ml)",
    )
    axes.set_aspect("equal", adjustable="datalim")
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left")
    return figure


def fvc_curves(table: pd.DataFrame, patients: Sequence[str] | None = None, limit: int = 12) -> Figure:
    """Predicted and measured FVC over the weeks, one panel for each patient.

    Args:
        table: columns ``Patient``, ``Weeks``, ``FVC_measured`` (may be NaN), ``q20``, ``q50``, ``q80`` in ml; any order.
        patients: whom to show; default: those who come first in the table, at most ``limit``.
        limit: see ``patients``.

    Raises:
        ValueError: if the table does not have one of the patients.
    """
    known = list(table["Patient"].unique())
    shown = known[:limit] if patients is None else list(patients)
    if missing := [patient for patient in shown if patient not in known]:
        raise ValueError(f"the table has no rows of the patients {missing}; it has {len(known)} others, such as {known[:3]}.")
    if not shown:
        return _only_text("No patient to show.")
    label = "weeks since the baseline CT"
    figure, panels = _grid(len(shown), columns=4, width=2.8, height=2.2, xlabel=label, sharex=True, sharey=True)
    for axes, patient in zip(panels, shown, strict=True):
        rows = table[table["Patient"] == patient].sort_values("Weeks")
        weeks = rows["Weeks"]
        # the outline is all that is seen of a single visit
        axes.fill_between(weeks, rows["q20"], rows["q80"], color=BLUE, alpha=0.25, linewidth=1.5, label="20 to 80 % interval")
        axes.plot(weeks, rows["q50"], ".-", color=BLUE, markersize=3, linewidth=1.5, label="median")
        axes.plot(weeks, rows["FVC_measured"], "o", color=VERMILLION, markersize=4, label="measured")
        axes.set_title(_shortened(patient), fontsize="small")
        axes.grid(alpha=0.3)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    figure.suptitle(f"{len(shown)} of {len(known)} patients" if len(shown) < len(known) else "all patients")
    figure.supylabel("FVC (ml)")
    return figure


def sample_positions(volume: Volume, points: Tensor, slices: int = 3) -> Figure:
    """Where the network looked: the encoded voxels on axial slices, and their density over a coronal one.

    Slices are shown as radiologists see them, the patient's right on the left and anterior up, whatever the order of the voxels.
    Only the shown slices are read.

    Args:
        volume: 3-D; its first channel is shown.  Without an ``affine`` (voxels to RAS millimetres), voxels are taken for cubes in
            the order of a DICOM scan: x to the left, y to the back, z to the head.
        points: int64 ``[N, 3]``, encoded voxels; those outside the volume are counted, not drawn.
        slices: number of axial slices, at least 1: those with most voxels near them, at a distance from each other.

    Raises:
        ValueError: if the volume is not 3-D, the points are not ``[N, 3]``, or there are no slices to show.
    """
    shape = np.array(volume.shape[1:])
    if len(shape) != 3 or points.ndim != 2 or points.shape[1] != 3 or slices < 1:
        raise ValueError(
            "expected a volume (C, X, Y, Z), points [N, 3] and at least 1 slice, "
            f"got {tuple(volume.shape)}, {tuple(points.shape)} and {slices}."
        )
    view = _RadiologicalView(volume)
    positions = points.cpu().numpy()
    inside = positions[((positions >= 0) & (positions < shape)).all(1)]
    across, front, up = view.axes
    levels = _crowded(np.bincount(inside[:, up], minlength=shape[up]), slices)
    images = [view.slice(up, level) for level in levels] + [view.slice(front, shape[front] // 2)]
    window = np.nanpercentile(np.concatenate([image.ravel() for image in images]), [1, 99])

    figure, panels = _grid(len(images), columns=2, width=4.8, height=4.4)
    for axes, image in zip(panels, images, strict=True):
        axes.imshow(image, cmap="gray", vmin=window[0], vmax=window[1])
        axes.set(xticks=[], yticks=[])
    for axes, level in zip(panels, levels, strict=False):
        near = inside[np.abs(inside[:, up] - level) <= NEAR]
        axes.set_aspect(view.spacing[front] / view.spacing[across])
        axes.scatter(*view.pixels(near, across, front), s=5, color=ORANGE, alpha=0.5, linewidth=0)
        axes.set(title=f"axial, {'xyz'[up]} = {level}: {len(near):,} voxels within {NEAR} slices")
        _directions(axes, "A", "P")

    coronal = panels[-1]
    coronal.set_aspect(view.spacing[up] / view.spacing[across])
    bin_mm = (shape * view.spacing)[[across, up]].max() / BINS
    bins = [np.arange(-0.5, shape[axis] + bin_mm / view.spacing[axis], bin_mm / view.spacing[axis]) for axis in (across, up)]
    if len(inside):
        *_, density = coronal.hist2d(
            *view.pixels(inside, across, up), bins=bins, cmin=1, cmap="plasma", alpha=0.6, norm=LogNorm()
        )
        figure.colorbar(density, ax=coronal, label=f"voxels in a column of {bin_mm:.1f} × {bin_mm:.1f} mm", shrink=0.8)
    coronal.set(title="coronal: all voxels, seen from the front", xlim=(-0.5, shape[across] - 0.5), ylim=(shape[up] - 0.5, -0.5))
    _directions(coronal, "S", "I")
    outside = len(points) - len(inside)
    figure.suptitle(
        f"{len(inside):,} of {shape.prod():,} voxels ({100 * len(inside) / shape.prod():.3f} %)"
        + (f"; {outside:,} points lie outside the volume and are not drawn" if outside else "")
    )
    return figure


class _RadiologicalView:
    """Slices with the patient's right on the left, and anterior or superior up."""

    def __init__(self, volume: Volume) -> None:
        self.volume = volume
        affine = np.asarray(getattr(volume, "affine", np.diag([-1.0, -1.0, 1.0, 1.0])))
        self.spacing: NDArray = np.linalg.norm(affine[:3, :3], axis=0)
        orientation = nibabel.orientations.io_orientation(affine)  # world axis and direction of each voxel axis
        self.axes = [int(axis) for axis in orientation[:, 0].argsort()]  # voxel axes along left-right, front-back, up-down
        self.mirrored = orientation[:, 1] > 0  # indices grow to the right, front or head, pixels to the left, back and feet

    def slice(self, axis: int, level: int) -> NDArray:
        """The slice across a voxel axis, float32 ``[height, width]``."""
        size = list(self.volume.shape[1:])
        centre = [edge // 2 for edge in size]
        size[axis], centre[axis] = 1, int(level)
        cube = self.volume.gather(torch.tensor([centre]), size)[0, 0].numpy()
        width, height = (other for other in self.axes if other != axis)
        flips = [other for other in (width, height) if self.mirrored[other]]
        return np.flip(cube, flips).transpose(height, width, axis)[..., 0]

    def pixels(self, points: NDArray, width: int, height: int) -> list[NDArray]:
        """Columns and rows of voxels in a slice."""
        return [
            self.volume.shape[1 + axis] - 1 - points[:, axis] if self.mirrored[axis] else points[:, axis]
            for axis in (width, height)
        ]


def _crowded(counts: NDArray, number: int) -> list[int]:
    """Levels with most points near them, ascending, at a distance from each other; of equal ones, those closer to the middle."""
    levels = np.arange(len(counts))
    weights = 1 + NEAR - np.abs(np.arange(-NEAR, NEAR + 1))  # a level with points comes before one beside them
    near = np.convolve(counts, weights)[NEAR : NEAR + len(counts)].astype(float)
    near -= np.abs(levels - (len(counts) - 1) / 2) / len(counts)  # less than one point
    chosen: list[int] = []
    distance = max(1, len(counts) // (2 * number))
    for _ in range(min(number, len(counts))):
        chosen.append(int(near.argmax()))
        near[np.abs(levels - chosen[-1]) < distance] = -np.inf
    return sorted(chosen)


def _directions(axes: Axes, top: str, bottom: str) -> None:
    """Letters for the patient's directions at the edges."""
    for x, y, letter in ((0.02, 0.5, "R"), (0.98, 0.5, "L"), (0.5, 0.98, top), (0.5, 0.02, bottom)):
        vertical = {0.98: "top", 0.02: "bottom"}.get(y, "center")
        horizontal = {0.98: "right", 0.02: "left"}.get(x, "center")
        text = axes.text(x, y, letter, transform=axes.transAxes, color="white", fontweight="bold", ha=horizontal, va=vertical)
        text.set_path_effects([withStroke(linewidth=3, foreground="black")])


def _grid(panels: int, columns: int, width: float, height: float, xlabel: str = "", **shared: Any) -> tuple[Figure, list[Axes]]:
    """A figure of so many panels of a size in inches, row by row; the lowest of each column names the horizontal axis."""
    columns = min(columns, panels)
    rows = -(-panels // columns)
    figure = Figure(figsize=(columns * width, rows * height), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False, **shared).flat)
    for unused in axes[panels:]:
        unused.remove()
    for lowest in axes[max(0, panels - columns) : panels]:
        lowest.set_xlabel(xlabel)
        lowest.tick_params(labelbottom=True)
    return figure, axes[:panels]


def _only_text(text: str) -> Figure:
    """In place of a figure that has nothing to show."""
    figure = Figure(figsize=(7, 1.2))
    figure.text(0.5, 0.5, text, ha="center", va="center", color=GREY)
    return figure


def _shortened(name: Any, length: int = 28) -> str:
    """A name that fits above a panel."""
    text = str(name)
    return text if len(text) <= length else f"{text[: length - 9]}…{text[-8:]}"
