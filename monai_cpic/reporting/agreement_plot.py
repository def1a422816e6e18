"""The figure of agreement: predicted intervals against what is true."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from monai_cpic.reporting.plots import BLUE, GREY

__all__ = ["agreement_plot"]


def agreement_plot(true: ArrayLike, predicted: ArrayLike, title: str, xlabel: str, ylabel: str) -> Figure:
    """Predicted medians and intervals against true values.

    Args:
        true: ``[N]``, finite.
        predicted: the low end of the 60 % interval, the median and the high end, ``[N, 3]``, in the same unit.
        title: of the figure.
        xlabel: what is true, with its unit.
        ylabel: what is predicted, likewise.

    Example:
        >>> figure = agreement_plot([2.0, 5.0], [[1, 2, 3], [2, 3, 4]], "two scores", "true score", "predicted score")
        >>> figure.axes[0].get_title()
        'two scores'
    """
    true = np.asarray(true, float)
    low, median, high = np.asarray(predicted, float).T
    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.subplots()
    axes.axline((true[0], true[0]), slope=1, color=GREY, linewidth=1, label="equal")
    axes.vlines(true, low, high, color=BLUE, alpha=0.3, linewidth=1, label="60 % interval")
    axes.scatter(true, median, s=16, color=BLUE, alpha=0.8, linewidth=0, label="median")
    axes.set(title=title, xlabel=xlabel, ylabel=ylabel)
    axes.set_aspect("equal", adjustable="datalim")
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left")
    return figure
