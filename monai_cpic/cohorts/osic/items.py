"""One patient of the OSIC cohort as an item of a MONAI data list: covariates and labels, and their units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

__all__ = ["CHANGE_UNIT", "COVARIATES", "QUANTILES", "RATE_UNIT", "measured_fvc", "patient_item"]

COVARIATES = (
    "weeks since baseline / 52",
    "baseline week / 52",
    "(baseline FVC - 2700 ml) / 800 ml",
    "(baseline Percent - 78) / 20",
    "(age - 67 years) / 7 years",
    "male",
    "ex-smoker",
    "currently smokes",
)
"""The columns of ``covariates``. Scales are fixed, not fitted, so that a prediction needs only its own patient."""

QUANTILES = (0.2, 0.5, 0.8)
CHANGE_UNIT = 300.0  # ml: typical changes since the baseline are about 1 in this unit
RATE_UNIT = 200.0  # ml per year: about the standard deviation of the patients' rates


def patient_item(scan: Path, visits: pd.DataFrame, weeks: list[int] | None) -> dict[str, Any]:
    """The item of one patient, as :class:`~monai_cpic.cohorts.osic.cohort.OSICCohort` describes it.

    Args:
        scan: folder of the scan, whose name is that of the patient.
        visits: visits of the patient, rows of :func:`~monai_cpic.cohorts.osic.visits_table.check_visits` sorted by week.
        weeks: weeks to predict; default: those of the visits after the baseline.
    """
    baseline, measured = visits.iloc[0], visits.iloc[1:].set_index("Weeks")["FVC"]
    asked = measured.index.tolist() if weeks is None else weeks
    fvc = torch.tensor(measured.reindex(asked).to_numpy(), dtype=torch.float32)
    return {
        "patient": scan.name,
        "image": str(scan),
        "weeks": torch.tensor(asked, dtype=torch.int64),
        "fvc": fvc,
        "label": torch.stack([(fvc - float(baseline["FVC"])) / CHANGE_UNIT, torch.full_like(fvc, _rate(visits) / RATE_UNIT)], 1),
        "covariates": _covariates(baseline, asked),
        "baseline_fvc": float(baseline["FVC"]),
        "baseline_week": int(baseline["Weeks"]),
    }


def measured_fvc(item: Mapping[str, Any]) -> Tensor:
    """The true FVC of each row, ml, twice: ``[V, 2]``, see :class:`~monai_cpic.cohorts.intervals.Intervals`."""
    fvc: Tensor = item["fvc"]
    return fvc[:, None].expand(-1, 2)


def _covariates(baseline: pd.Series, weeks: Sequence[int]) -> Tensor:
    """The covariates ``[V, 8]``: the week to predict, and the data of the baseline visit, repeated for each week."""
    since_baseline = (torch.tensor(weeks, dtype=torch.float32) - float(baseline["Weeks"])) / 52
    constant = torch.tensor(
        [
            baseline["Weeks"] / 52,
            (baseline["FVC"] - 2700) / 800,
            (baseline["Percent"] - 78) / 20,
            (baseline["Age"] - 67) / 7,
            baseline["Sex"] == "Male",
            baseline["SmokingStatus"] == "Ex-smoker",
            baseline["SmokingStatus"] == "Currently smokes",
        ],
        dtype=torch.float32,
    )
    return torch.cat([since_baseline[:, None], constant.expand(len(weeks), -1)], dim=1)


def _rate(visits: pd.DataFrame) -> float:
    """Slope of the least-squares line through a patient's visits, ml per year."""
    if len(visits) == 1:
        return np.nan
    line = np.polynomial.Polynomial.fit(visits["Weeks"] / 52, visits["FVC"], 1)
    return float(line.deriv()(0.0))  # the slope is not always a coefficient: for a level line there may be only one
