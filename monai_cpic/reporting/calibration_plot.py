"""The figure of calibration: do predicted quantiles keep what they promise?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from monai_cpic.reporting.plots import BLUE, GREY

__all__ = ["calibration_plot"]


def calibration_plot(levels: Sequence[float], shares: ArrayLike, intervals: ArrayLike) -> Figure:
    """The share of measurements below each predicted quantile, against the level of the quantile.

    Args:
        levels: ``Q`` levels of quantiles, between 0 and 1.
        shares: the share of measurements below each, ``[Q]``.
        intervals: low and high end of each share, ``[Q, 2]``; NaN where there is none.

    Example:
        >>> figure = calibration_plot([0.2, 0.8], [0.25, 0.7], [[0.1, 0.4], [0.6, 0.8]])
        >>> figure.axes[0].get_ylabel()
        'measured below it (share)'
    """
    shares = np.asarray(shares, float)
    figure = Figure(figsize=(4.6, 4.6), layout="constrained")
    axes = figure.subplots()
    axes.axline((0, 0), slope=1, color=GREY, linewidth=1, label="well calibrated")
    axes.vlines(levels, *np.asarray(intervals, float).T, color=BLUE, linewidth=1.5, label="95 % interval")
    axes.plot(levels, shares, "o", color=BLUE, label="observed")
    for level, share in zip(levels, shares, strict=True):
        axes.annotate(f"{share:.2f}", (level, share), xytext=(8, -4), textcoords="offset points")
    axes.set(xlabel="predicted quantile", ylabel="measured below it (share)", xlim=(0, 1), ylim=(0, 1), xticks=[0, *levels, 1])
    axes.set_aspect("equal")
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left")
    return figure
