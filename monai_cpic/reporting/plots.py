"""Helpers for figures: colours, panels, and a text in place of an empty figure."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

# colours of Okabe and Ito, which colour-blind people can distinguish
BLUE, ORANGE, VERMILLION, GREY = "#0072B2", "#E69F00", "#D55E00", "#6E6E6E"


def grid(panels: int, columns: int, width: float, height: float, xlabel: str = "", **shared: Any) -> tuple[Figure, list[Axes]]:
    """A figure with a number of panels of a given size in inches, row by row; the lowest panel of each column has the label."""
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


def only_text(text: str) -> Figure:
    """A figure with a text that explains why there is nothing to show."""
    figure = Figure(figsize=(7, 1.2))
    figure.text(0.5, 0.5, text, ha="center", va="center", color=GREY)
    return figure


def shortened(name: Any, length: int = 28) -> str:
    """A name, shortened in the middle to fit above a panel."""
    text = str(name)
    return text if len(text) <= length else f"{text[: length - 9]}…{text[-8:]}"
