"""One row for each patient, from the tables of predictions."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch

from monai_cpic.cohorts import OSICCohort
from monai_cpic.cohorts.brats.patients_table import patients_table as survival_table
from monai_cpic.cohorts.osic.patients_table import changes, patients_table, with_visits

ITEMS = [
    {
        "patient": "B",
        "weeks": torch.tensor([9, 4]),
        "fvc": torch.tensor([2400.0, 2500.0]),
        "baseline_week": -1,
        "baseline_fvc": 2600.0,
    },
    {"patient": "A", "weeks": torch.tensor([30]), "fvc": torch.tensor([np.nan]), "baseline_week": 10, "baseline_fvc": 3000.0},
]
OUTPUTS = [torch.tensor([[2300.0, 2420.0, 2500.0], [2400.0, 2510.0, 2600.0]]), torch.tensor([[2800.0, 2900.0, 3100.0]])]


def test_change_of_fvc_until_the_last_week() -> None:
    table = with_visits(ITEMS, OSICCohort().table(ITEMS, OUTPUTS))
    assert table["Patient"].tolist() == ["B", "B", "A"] and table["Weeks"].tolist() == [9, 4, 30]
    assert changes(table)["q50"].tolist() == [-180, -90, -100] and changes(table)["FVC_measured"].tolist()[:2] == [-200, -100]
    rows = patients_table(table).astype(object).where(lambda values: values.notna(), None).values.tolist()
    assert rows == [["B", 2600, 10, -180, "-300 to -100", -200], ["A", 3000, 20, -100, "-200 to 100", None]]


def test_intervals_are_the_calibrated_ones_where_there_are_any() -> None:
    calibrated = OSICCohort().table(ITEMS, OUTPUTS).assign(low=[2200.0, 2300.0, 2700.0], high=[2600.0, 2700.0, 3200.0])
    assert patients_table(with_visits(ITEMS, calibrated))["interval"].tolist() == ["-400 to 0", "-300 to 200"]


def test_new_patients_have_no_column_of_measurements() -> None:
    table = with_visits(ITEMS[1:], OSICCohort().table(ITEMS[1:], OUTPUTS[1:]))
    assert list(patients_table(table)) == ["patient", "baseline", "weeks", "predicted change", "interval"]


def test_survival_of_two_models() -> None:
    known = {"Brats20ID": ["A", "B", "C"], "Age": [50.0, 60.0, 70.0], "Extent_of_Resection": ["GTR", "STR", "NA"]}
    true = {"Survival_days_true": [400.0, 300.0, np.nan], "died": [True, False, False]}
    tables = {
        name: pd.DataFrame({**known, "Survival_days": days, **true})
        for name, days in (("C-PIC", [410.4, 2, 3]), ("Cox", [1, 2, 3]))
    }
    found = survival_table(tables)
    assert list(found) == ["patient", "age", "resection", "C-PIC predicts", "Cox predicts", "survival"]
    assert found["survival"].tolist()[:2] == ["400", "more than 300"] and found["survival"].isna()[2]
    assert found["C-PIC predicts"].tolist() == [410, 2, 3]
