"""Calibrated intervals in the table of predictions, and what a report says of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from monai_cpic.cohorts.base import Cohort
from monai_cpic.cohorts.calibration import CannotCalibrateError
from monai_cpic.cohorts.coverage import measure_coverage
from monai_cpic.reporting.report import Report

__all__ = ["report_coverage", "report_intervals"]

HEADING = "Calibrated intervals"


def report_coverage(
    report: Report, cohort: Cohort, patients: Sequence[Mapping[str, Any]], outputs: Sequence[Tensor], table: pd.DataFrame
) -> dict[str, Any]:
    """Add intervals of patients whose truth is known to the table, each calibrated on others, and their coverage to the report.

    Args:
        report: the report.
        cohort: the cohort.
        patients: items of patients who were not trained on.
        outputs: for each a prediction ``[V, Q]`` in the units of the table.
        table: their predictions, which get the columns ``low`` and ``high``.

    Returns:
        For metrics.json ``{"intervals": ...}``, the coverage (:class:`~monai_cpic.cohorts.coverage.Coverage`), or None if the
        patients are too few; nothing if the cohort has no intervals.
    """
    if cohort.intervals is None:
        return {}
    try:
        coverage = measure_coverage(cohort.intervals, *cohort.by_patient(patients, outputs), cohort.groups(patients), cohort.rows)
    except CannotCalibrateError as error:
        report.add_text(HEADING, f"There are none: {error}")
        return {"intervals": None}
    table[["low", "high"]] = coverage.ends.double().numpy()
    report.add_text(HEADING, coverage.sentence())
    if coverage.groups:
        report.add_table("Coverage by group", coverage.groups, "Share of the true values that lie in the intervals.")
    return {"intervals": coverage.metrics()}


def report_intervals(
    report: Report, cohort: Cohort, outputs: Sequence[Tensor], table: pd.DataFrame, calibration: Mapping[str, float] | None
) -> None:
    """Add the intervals of new patients to the table, and what they mean to the report.

    Args:
        report: the report.
        cohort: the cohort.
        outputs: for each patient a prediction ``[V, Q]`` in the units of the table.
        table: the predictions, which get the columns ``low`` and ``high``.
        calibration: as the model file holds it; None if it holds none.
    """
    if cohort.intervals is None:
        return
    if calibration is None:
        report.add_text(HEADING, "There are none: the model was trained with too few patients to hold out.")
        return
    ends = torch.cat([cohort.intervals(output, calibration) for output in outputs])
    table[["low", "high"]] = ends.double().numpy()
    share = f"{100 * cohort.intervals.coverage:.0f} %"
    report.add_text(HEADING, f"They contain the true value of {share} of new patients who are like those of the training.")
