"""Figures of predictions of a table's target."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.metrics import ConfusionMatrixDisplay
from statsmodels.duration.survfunc import SurvfuncRight, survdiff

from monai_cpic.reporting.agreement_plot import agreement_plot
from monai_cpic.reporting.plots import BLUE, VERMILLION, only_text

__all__ = ["confusion", "predicted_against_true", "survival_by_risk"]


def predicted_against_true(table: pd.DataFrame, name: str) -> Figure:
    """Predicted medians and intervals against true values.

    Args:
        table: columns ``<name>`` (median), ``q20``, ``q80`` and ``<name>_true``; rows without a true value are left out.
        name: of the target.
    """
    table = table.dropna(subset=f"{name}_true")
    if table.empty:
        return only_text("No true value is known to compare with.")
    true, predicted = table[f"{name}_true"].to_numpy(float), table[["q20", name, "q80"]].to_numpy(float)
    covered = np.mean((predicted[:, 0] <= true) & (true <= predicted[:, 2]))
    title = f"{len(table)} values, {100 * covered:.0f} % of them in their interval"
    return agreement_plot(true, predicted, title, f"true {name}", f"predicted {name}")


def confusion(table: pd.DataFrame, name: str, classes: Sequence[str]) -> Figure:
    """How many rows of each true class were predicted to be in each class.

    Args:
        table: columns ``<name>`` (predicted) and ``<name>_true``; rows without a true class are left out.
        name: of the target.
        classes: the names.
    """
    table = table.dropna(subset=f"{name}_true")
    if table.empty:
        return only_text("No true class is known to compare with.")
    figure = Figure(figsize=(6, 5), layout="constrained")
    axes = figure.subplots()
    ConfusionMatrixDisplay.from_predictions(
        table[f"{name}_true"].astype(str), table[name].astype(str), labels=list(classes), cmap="Blues", ax=axes, colorbar=False
    )
    axes.set(xlabel=f"predicted {name}", ylabel=f"true {name}")
    return figure


def survival_by_risk(table: pd.DataFrame, time: str, event: str) -> Figure:
    """The curves of Kaplan and Meier of the halves with the shorter and the longer predicted time, and the log-rank test.

    Args:
        table: columns ``<time>`` (predicted), ``<time>_true`` and ``<event>_true``; rows without true values are left out.
        time: name of the time.
        event: name of the event.
    """
    table = table.dropna(subset=[f"{time}_true", f"{event}_true"])
    short = (table[time] < table[time].median()).to_numpy()
    if short.sum() < 1:
        return only_text("All predicted times are equal: there are no groups to compare.")
    true, happened = (table[f"{name}_true"].to_numpy(float) for name in (time, event))
    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.subplots()
    for group, label, colour in ((short, "high risk", VERMILLION), (~short, "low risk", BLUE)):
        curve = SurvfuncRight(true[group], happened[group])
        days, alive = np.concatenate([[0.0], curve.surv_times]), np.concatenate([[1.0], curve.surv_prob])
        last = max(days[-1], true[group].max())
        axes.step([*days, last], [*alive, alive[-1]], where="post", color=colour, label=f"{label} ({group.sum()})")
        censored = true[group & (happened == 0)]
        axes.plot(censored, alive[np.searchsorted(days, censored, side="right") - 1], "|", color=colour, markersize=8)
    statistic, p = survdiff(true, happened, short) if happened.any() else (np.nan, np.nan)
    axes.set(
        title=f"log-rank test: χ² = {statistic:.3g}, p = {p:.2g}", xlabel=time, ylabel="share without the event", ylim=(0, 1.02)
    )
    axes.grid(alpha=0.3)
    axes.legend()
    return figure
