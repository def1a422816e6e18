"""Predicted survival patient by patient, for the report."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

__all__ = ["patients_table"]


def patients_table(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """One row for each patient, for people.

    Args:
        tables: predictions by name of the model, with the same rows.
    """
    first = next(iter(tables.values()))
    known = {"patient": first["Brats20ID"], "age": first["Age"], "resection": first["Extent_of_Resection"]}
    predicted = {f"{name} predicts": table["Survival_days"].round().astype(int) for name, table in tables.items()}
    days, died = first["Survival_days_true"], first["died"].astype(bool)
    true = [
        f"{'' if dead else 'more than '}{value:.0f}" if pd.notna(value) else None for value, dead in zip(days, died, strict=True)
    ]
    return pd.DataFrame({**known, **predicted, "survival": true})
