"""Figures of predicted survival."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from monai_cpic.cohorts.bootstrap import Estimate, bootstrap_by_patient
from monai_cpic.metrics.survival import CLASS_LIMITS
from monai_cpic.reporting.plots import BLUE, GREY, ORANGE, VERMILLION, only_text

__all__ = ["CALIBRATION_CAPTION", "predicted_against_true_days", "survival_calibration"]

CALIBRATION_CAPTION = (
    "Patients who died, in thirds by their predicted survival: mean prediction and mean survival of each third, with its 95 % "
    "interval by resampling patients. A well calibrated prediction lies on the line."
)


def predicted_against_true_days(table: pd.DataFrame) -> Figure:
    """Predicted against true survival, with the limits of the challenge's classes.

    Args:
        table: columns ``Survival_days`` (predicted), ``Survival_days_true``, ``died`` and ``Extent_of_Resection``; rows without a
            known survival are left out.  Living patients are triangles that point to the right, since their survival is longer.
    """
    table = table.dropna(subset="Survival_days_true")
    if table.empty:
        return only_text("No patient has a survival to compare with.")
    died = table["died"].to_numpy(bool)
    resected = (table["Extent_of_Resection"] == "GTR").to_numpy()
    true, predicted = (table[name].to_numpy(float) for name in ("Survival_days_true", "Survival_days"))
    figure = Figure(figsize=(7, 7), layout="constrained")
    axes = figure.subplots()
    limit = 1.05 * max(true.max(), predicted.max())
    axes.plot([0, limit], [0, limit], color=GREY, linewidth=1, label="predicted = true")
    for days in CLASS_LIMITS:
        axes.axvline(days, color=GREY, linewidth=0.6, linestyle=":")
        axes.axhline(days, color=GREY, linewidth=0.6, linestyle=":")
    groups = [
        ("gross total resection", died & resected, "o", BLUE),
        ("other", died & ~resected, "o", ORANGE),
        ("alive when last seen", ~died, ">", VERMILLION),
    ]
    for label, rows, marker, colour in groups:
        if rows.any():
            axes.scatter(true[rows], predicted[rows], s=24, marker=marker, color=colour, alpha=0.8, linewidth=0, label=label)
    rmse = f"{np.sqrt(np.square(true - predicted)[died].mean()):.0f} days" if died.any() else "not defined"
    axes.set(
        title=f"RMSE = {rmse} ({died.sum()} patients who died)",
        xlabel="true survival (days)",
        ylabel="predicted survival (days)",
        xlim=(0, limit),
        ylim=(0, limit),
    )
    axes.set_aspect("equal")
    axes.legend(loc="upper left")
    return figure


def survival_calibration(table: pd.DataFrame) -> Figure:
    """The mean survival of patients who died against the mean prediction, for thirds of the predictions.

    Args:
        table: as for :func:`predicted_against_true_days`; rows of other patients are left out.
    """
    table = table[table["Survival_days_true"].notna() & table["died"].astype(bool)].sort_values("Survival_days")
    thirds = [third for third in np.array_split(np.arange(len(table)), 3) if len(third)]
    if not thirds:
        return only_text("No patient who died has a survival to compare with.")
    true, predicted = (table[name].to_numpy(float) for name in ("Survival_days_true", "Survival_days"))
    means = [predicted[third].mean() for third in thirds]
    found = [_mean(true[third]) for third in thirds]
    figure = Figure(figsize=(4.6, 4.6), layout="constrained")
    axes = figure.subplots()
    limit = 1.05 * max(max(means), max(true))
    axes.plot([0, limit], [0, limit], color=GREY, linewidth=1, label="well calibrated")
    axes.vlines(
        means, [each.low for each in found], [each.high for each in found], color=BLUE, linewidth=1.5, label="95 % interval"
    )
    axes.plot(means, [each.value for each in found], "o", color=BLUE, label="third of the patients")
    axes.set(xlabel="mean predicted survival (days)", ylabel="mean true survival (days)", xlim=(0, limit), ylim=(0, limit))
    axes.set_aspect("equal")
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left")
    return figure


def _mean(values: NDArray[Any]) -> Estimate:
    """The mean of one value for each patient."""
    return bootstrap_by_patient(lambda rows: [values[rows].mean()], [1] * len(values))[0]
