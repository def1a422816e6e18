"""Predictions of lung function patient by patient, for the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

__all__ = ["PATIENTS_CAPTION", "changes", "patients_table", "with_visits"]

PATIENTS_CAPTION = (
    "FVC in ml at the baseline, and its change until the patient's last week here: the predicted median, the 60 % interval "
    "(see Calibrated intervals), and what was measured. Weeks are counted from the baseline visit."
)

FVC = ["q20", "q50", "q80", "low", "high", "FVC_measured"]


def with_visits(patients: Sequence[Mapping[str, Any]], table: pd.DataFrame) -> pd.DataFrame:
    """The table of predictions with ``Patient``, ``Weeks``, and ``baseline_week`` and ``baseline_fvc`` of the baseline visit.

    Intervals are ``low`` to ``high``: the calibrated ones if the table has them, else the model's own, ``q20`` to ``q80``.

    Args:
        patients: items of :meth:`~monai_cpic.cohorts.osic.cohort.OSICCohort.read`.
        table: their predictions, one row for each week of each patient.
    """
    visits = [
        {
            "Patient": item["patient"],
            "Weeks": week,
            "baseline_week": item["baseline_week"],
            "baseline_fvc": item["baseline_fvc"],
        }
        for item in patients
        for week in item["weeks"].tolist()
    ]
    ends = {} if "low" in table else {"low": table["q20"], "high": table["q80"]}
    return table.assign(**pd.DataFrame(visits, index=table.index), **ends)


def changes(table: pd.DataFrame) -> pd.DataFrame:
    """The table of :func:`with_visits` with changes since the baseline visit in place of FVC."""
    return table.assign(**{name: table[name] - table["baseline_fvc"] for name in FVC})


def patients_table(table: pd.DataFrame) -> pd.DataFrame:
    """One row for each patient of a table of :func:`with_visits`, for people."""
    last = changes(table).sort_values("Weeks", kind="stable").groupby("Patient", sort=False).tail(1)
    rows = pd.DataFrame(
        {
            "patient": last["Patient"],
            "baseline": last["baseline_fvc"].round().astype(int),
            "weeks": last["Weeks"] - last["baseline_week"],
            "predicted change": last["q50"].round().astype(int),
            "interval": [f"{low:.0f} to {high:.0f}" for low, high in zip(last["low"], last["high"], strict=True)],
            "measured change": last["FVC_measured"].round().astype("Int64"),
        }
    )
    return rows.sort_index().dropna(axis="columns", how="all").reset_index(drop=True)
