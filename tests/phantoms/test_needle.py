"""The simulated ball: it is where the truth says, and the table tells its score."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest

from monai_cpic.phantoms import NeedleSimulation


def test_the_score_follows_the_truth() -> None:
    table, truth = NeedleSimulation(300).tables()
    error = table["score"] - 0.1 * truth["contrast"] - 0.05 * (table["age"] - 60)
    assert error.std() == pytest.approx(0.3, abs=0.05) and abs(error.mean()) < 0.1
    assert abs(np.corrcoef(table["age"], truth["contrast"])[0, 1]) < 0.15


def test_the_ball_stands_out_where_it_is(tmp_path: Path) -> None:
    cohort = NeedleSimulation(3, seed=1, resolution=0.5).write(tmp_path / "needle", progress=False)
    table, truth = (pd.read_csv(cohort / f"{name}.csv") for name in ("table", "truth"))
    for row, true in zip(table.to_dict("records"), truth.to_dict("records"), strict=True):
        scan = nibabel.Nifti1Image.from_filename(cohort / row["image"])
        assert scan.shape == (80, 80, 48) and scan.header.get_zooms() == (2, 2, 2)
        values = np.asarray(scan.dataobj, dtype=float)
        centre = [true[f"{axis}_mm"] / 2 + (n - 1) / 2 for axis, n in zip("xyz", scan.shape, strict=True)]
        distance = 2 * np.sqrt(sum((index - place) ** 2 for index, place in zip(np.indices(scan.shape), centre, strict=True)))
        inside, around = distance < true["radius_mm"] - 2, (distance > true["radius_mm"] + 2) & (distance < true["radius_mm"] + 6)
        assert values[inside].mean() - values[around].mean() == pytest.approx(true["contrast"], abs=12)
        assert (distance < true["radius_mm"]).mean() < 2e-3
