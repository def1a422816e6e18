"""What the figure shows is read back from its artists."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd

from monai_cpic.cohorts.brats.figures import predicted_against_true_days

ROWS = [
    (100.0, 200.0, True, "GTR"),
    (500.0, 460.0, True, "NA"),
    (350.0, 361.0, False, "GTR"),
    (350.0, np.nan, False, "GTR"),
]


def test_groups_of_patients() -> None:
    table = pd.DataFrame(ROWS, columns=["Survival_days", "Survival_days_true", "died", "Extent_of_Resection"])
    figure = predicted_against_true_days(table)
    figure.savefig(io.BytesIO(), format="png", dpi=40)
    (axes,) = figure.axes
    shown = {group.get_label(): np.asarray(group.get_offsets()).tolist() for group in axes.collections}
    assert shown == {"gross total resection": [[200, 100]], "other": [[460, 500]], "alive when last seen": [[361, 350]]}
    assert axes.get_title() == f"RMSE = {np.sqrt((100**2 + 40**2) / 2):.0f} days (2 patients who died)"
    assert axes.get_xlim() == axes.get_ylim()


def test_nothing_to_compare_with() -> None:
    table = pd.DataFrame(ROWS[3:], columns=["Survival_days", "Survival_days_true", "died", "Extent_of_Resection"])
    figure = predicted_against_true_days(table)
    assert not figure.axes and "No patient" in figure.texts[0].get_text()
