"""What the figure shows is read back from its artists."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
from matplotlib.collections import LineCollection

from monai_cpic.cohorts.brats.figures import predicted_against_true_days, survival_calibration

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


def test_calibration_of_thirds_of_those_who_died() -> None:
    predicted = [300.0, 100.0, 200.0, 600.0, 500.0, 400.0, 9.0]
    rows = [(days, 10 * k + 100.0, k < 6, "GTR") for k, days in enumerate(predicted)]
    table = pd.DataFrame(rows, columns=["Survival_days", "Survival_days_true", "died", "Extent_of_Resection"])
    figure = survival_calibration(table)
    figure.savefig(io.BytesIO(), format="png", dpi=40)
    points = figure.axes[0].lines[1]
    assert np.allclose(points.get_xydata(), [[150, 115], [350, 125], [550, 135]])
    (bars,) = figure.axes[0].collections
    assert isinstance(bars, LineCollection)
    assert np.allclose([bar[:, 1] for bar in bars.get_segments()], [[110, 120], [100, 150], [130, 140]])


def test_nobody_who_died() -> None:
    table = pd.DataFrame(ROWS[2:], columns=["Survival_days", "Survival_days_true", "died", "Extent_of_Resection"])
    assert not survival_calibration(table).axes
