"""The figure of the learning curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from monai_cpic.reporting.plots import BLUE, VERMILLION, grid, only_text

__all__ = ["learning_curves"]


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
        return only_text("No epoch was recorded.")
    figure, panels = grid(len(names), columns=3, width=3.6, height=2.9, xlabel="epoch", sharex=True)
    for position, (axes, name) in enumerate(zip(panels, names, strict=True)):
        rows = [row for row in history if name in row]
        axes.plot([row["epoch"] for row in rows], [row[name] for row in rows], ".-", color=(BLUE, VERMILLION)[position > 0])
        axes.set_title(name.replace("_", " "))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
    return figure
