"""Figures of predicted lung function."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from monai_cpic.cohorts.bootstrap import bootstrap_by_patient
from monai_cpic.cohorts.osic.items import QUANTILES
from monai_cpic.reporting.agreement_plot import agreement_plot
from monai_cpic.reporting.calibration_plot import calibration_plot
from monai_cpic.reporting.plots import BLUE, GREY, ORANGE, VERMILLION, only_text, shortened

__all__ = ["fvc_calibration", "fvc_curves", "predicted_against_measured"]


def predicted_against_measured(table: pd.DataFrame, what: str = "FVC") -> Figure:
    """Predicted medians and intervals against what was measured, with R² and mean absolute error.

    Args:
        table: columns ``FVC_measured``, ``q50``, ``low`` and ``high`` in ml; rows without a measurement are left out.
        what: name of the quantity, such as the change of FVC.
    """
    table = table.dropna(subset="FVC_measured")
    if table.empty:
        return only_text("No visit has a measurement to compare with.")
    measured, predicted = table["FVC_measured"].to_numpy(float), table[["low", "q50", "high"]].to_numpy(float)
    error = measured - predicted[:, 1]
    spread = np.square(measured - measured.mean()).sum()
    r2 = f"{1 - np.square(error).sum() / spread:.2f}" if spread > 0 else "not defined"
    title = f"{what}: R² = {r2}, MAE = {np.abs(error).mean():.0f} ml"
    return agreement_plot(measured, predicted, title, f"measured {what} (ml)", f"predicted {what} (ml)")


def fvc_calibration(table: pd.DataFrame) -> Figure:
    """The share of measurements below each predicted quantile, with intervals by patient.

    Args:
        table: columns ``Patient``, ``FVC_measured``, ``q20``, ``q50`` and ``q80``; the rows of a patient follow each other, and
            those without a measurement are left out.
    """
    table = table.dropna(subset="FVC_measured")
    if table.empty:
        return only_text("No visit has a measurement to compare with.")
    below = (table[["FVC_measured"]].to_numpy() <= table[["q20", "q50", "q80"]].to_numpy()).astype(float)
    visits = table.groupby("Patient", sort=False).size().tolist()
    found = bootstrap_by_patient(lambda rows: below[rows].mean(0), visits)
    return calibration_plot(QUANTILES, [each.value for each in found], [each.interval for each in found])


def fvc_curves(table: pd.DataFrame, rival: tuple[str, pd.DataFrame] | None = None, limit: int = 12) -> dict[str, Figure]:
    """Predicted and measured FVC over the weeks, one figure for each patient, with the same axes.

    Args:
        table: columns ``Patient``, ``Weeks``, ``FVC_measured`` (may be NaN), ``q50``, ``low``, ``high``, and of the baseline
            visit ``baseline_week`` and ``baseline_fvc``; FVC in ml; rows in any order.
        rival: name of another model, and its predictions of the same rows.
        limit: so many patients are shown at most, the first of the table.
    """
    shown = list(table["Patient"].unique())[:limit]
    some = table[table["Patient"].isin(shown)]
    weeks = [some[["Weeks", "baseline_week"]].min(axis=None) - 3, some[["Weeks", "baseline_week"]].max(axis=None) + 3]
    values = some[["low", "high", "FVC_measured", "baseline_fvc"]]
    fvc = [0.97 * values.min(axis=None), 1.03 * values.max(axis=None)]
    figures = {}
    for patient in shown:
        rows = table[table["Patient"] == patient].sort_values("Weeks")
        figure = Figure(figsize=(4, 3.6), layout="constrained")
        axes = figure.subplots()
        # with a single visit, only the outline is visible
        axes.fill_between(rows["Weeks"], rows["low"], rows["high"], color=BLUE, alpha=0.25, linewidth=1.5, label="60 % interval")
        axes.plot(rows["Weeks"], rows["q50"], ".-", color=BLUE, markersize=3, linewidth=1.5, label="predicted median")
        if rival is not None:
            name, other = rival
            axes.plot(rows["Weeks"], other.loc[rows.index, "q50"], "--", color=GREY, linewidth=1.5, label=name)
        axes.plot(rows["Weeks"], rows["FVC_measured"], "o", color=VERMILLION, markersize=4, label="measured")
        first = rows.iloc[0]
        axes.plot(first["baseline_week"], first["baseline_fvc"], "D", color=ORANGE, markersize=6, label="baseline visit")
        axes.set_title(shortened(patient), fontsize="medium", parse_math=False)
        axes.set(xlabel="weeks since the baseline CT", ylabel="FVC (ml)", xlim=weeks, ylim=fvc)
        axes.grid(alpha=0.3)
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize="small", frameon=False)
        figures[str(patient)] = figure
    return figures
