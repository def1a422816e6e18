"""Figures of predicted lung function."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from monai_cpic.reporting.plots import BLUE, GREY, VERMILLION, grid, only_text, shortened

__all__ = ["fvc_curves", "predicted_against_measured"]


def predicted_against_measured(table: pd.DataFrame) -> Figure:
    """Predicted medians and intervals against the measured FVC, with R², mean absolute error and coverage of the intervals.

    Args:
        table: columns ``FVC_measured``, ``q20``, ``q50`` and ``q80`` in ml; rows without a measurement are left out.
    """
    table = table.dropna(subset="FVC_measured")
    if table.empty:
        return only_text("No visit has a measurement to compare with.")
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
        patients: the patients to show; default: the first patients of the table, at most ``limit``.
        limit: see ``patients``.

    Raises:
        ValueError: if one of the patients is not in the table.
    """
    known = list(table["Patient"].unique())
    shown = known[:limit] if patients is None else list(patients)
    if missing := [patient for patient in shown if patient not in known]:
        raise ValueError(f"the table has no rows of the patients {missing}; it has {len(known)} others, such as {known[:3]}.")
    if not shown:
        return only_text("No patient to show.")
    label = "weeks since the baseline CT"
    figure, panels = grid(len(shown), columns=4, width=2.8, height=2.2, xlabel=label, sharex=True, sharey=True)
    for axes, patient in zip(panels, shown, strict=True):
        rows = table[table["Patient"] == patient].sort_values("Weeks")
        weeks = rows["Weeks"]
        # with a single visit, only the outline is visible
        axes.fill_between(weeks, rows["q20"], rows["q80"], color=BLUE, alpha=0.25, linewidth=1.5, label="20 to 80 % interval")
        axes.plot(weeks, rows["q50"], ".-", color=BLUE, markersize=3, linewidth=1.5, label="median")
        axes.plot(weeks, rows["FVC_measured"], "o", color=VERMILLION, markersize=4, label="measured")
        axes.set_title(shortened(patient), fontsize="small")
        axes.grid(alpha=0.3)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    figure.suptitle(f"{len(shown)} of {len(known)} patients" if len(shown) < len(known) else "all patients")
    figure.supylabel("FVC (ml)")
    return figure
