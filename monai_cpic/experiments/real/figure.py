"""The scores of a comparison as figures."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.artist import Artist
from matplotlib.figure import Figure

from monai_cpic.experiments.real.methods import OURS
from monai_cpic.experiments.real.printing import LABELS
from monai_cpic.experiments.real.scores import Score
from monai_cpic.reporting.plots import BLUE, GREY, grid, only_text

__all__ = ["patients_figure", "scores_figure"]


def scores_figure(lines: Sequence[Score]) -> Figure:
    """A panel for each cohort: the score of each method with its interval; of several targets their mean.

    Args:
        lines: of :func:`~monai_cpic.experiments.real.scores.scores`.
    """
    lines = [line for line in lines if not line.trained_on]
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


def patients_figure(lines: Sequence[Score]) -> Figure:
    """A panel for each cohort: the score of each method over the number of training patients; of several targets their mean.

    Args:
        lines: as above, of several numbers of training patients.
    """
    last = {(line.cohort.name, line.method, line.trained_on): line.pooled for line in lines}
    cohorts = {line.cohort.name: line for line in lines if line.trained_on}
    methods = dict.fromkeys(line.method for line in lines if line.trained_on)
    looks = {method: (f"C{number % 10}", "os^"[number // 10 % 3]) for number, method in enumerate(methods)}
    figure, panels = grid(len(cohorts), len(cohorts), 4.4, 3.6, xlabel="training patients")
    handles: dict[str, Artist] = {}
    for axes, (cohort, shown) in zip(panels, cohorts.items(), strict=True):
        numbers = [*sorted({number for name, _, number in last if name == cohort and number}), 0]
        for method, (colour, marker) in looks.items():
            known = [(x, last[cohort, method, n]) for x, n in enumerate(numbers) if (cohort, method, n) in last]
            if known:
                places, values = [place for place, _ in known], [score.value for _, score in known]
                errors = [[max(0.0, s.value - s.low) for _, s in known], [max(0.0, s.high - s.value) for _, s in known]]
                wide = 2.5 if method == OURS else 1.0
                drawn = axes.errorbar(places, values, errors, color=colour, marker=marker, linewidth=wide, elinewidth=0.6)
                handles[method] = drawn[0]
        axes.set_xticks(range(len(numbers)), [*map(str, numbers[:-1]), "all"])
        axes.set_title(f"{cohort}: {shown.target}", fontsize=9)
        axes.set_ylabel(f"{LABELS[shown.cohort.score]}, out of fold")
        axes.grid(alpha=0.3)
    figure.legend(list(handles.values()), list(handles), loc="outside right center", fontsize=7)
    return figure
