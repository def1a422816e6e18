"""The scores of a comparison as a figure."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from monai_cpic.experiments.real.methods import OURS
from monai_cpic.experiments.real.printing import LABELS
from monai_cpic.experiments.real.scores import Score
from monai_cpic.reporting.plots import BLUE, GREY, grid, only_text

__all__ = ["scores_figure"]


def scores_figure(lines: Sequence[Score]) -> Figure:
    """A panel for each cohort: the score of each method with its interval; of several targets their mean.

    Args:
        lines: of :func:`~monai_cpic.experiments.real.scores.scores`.
    """
    if not lines:
        return only_text("No training has finished.")
    last = {(line.cohort.name, line.method): line for line in lines}  # of several targets, the mean comes last
    cohorts = {line.cohort.name: line for line in lines}
    methods = list(dict.fromkeys(line.method for line in lines))
    figure, panels = grid(len(cohorts), len(cohorts), 4.2, 0.9 + 0.32 * len(methods), sharey=True)
    for axes, (cohort, shown) in zip(panels, cohorts.items(), strict=True):
        for height, method in enumerate(methods):
            if line := last.get((cohort, method)):
                colour = BLUE if method == OURS else GREY
                axes.plot([line.pooled.value], [height], "o", color=colour)
                axes.plot(line.pooled.interval, [height, height], color=colour)
        axes.axvline(0, color=GREY, linewidth=0.5)
        axes.set_title(f"{cohort}: {shown.target}", fontsize=9)
        axes.set_xlabel(f"{LABELS[shown.cohort.score]}, out of fold")
        axes.set_yticks(range(len(methods)), methods)
    panels[0].invert_yaxis()
    return figure
