"""The weights that a bundle comes with: small, of simulated patients, and able to predict a scan."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bundle_run import REPOSITORY, BundleRun, Outputs

from monai_cpic.model_files import read_model
from monai_cpic.phantoms import OSICSimulation

WEIGHTS = REPOSITORY / "bundles" / "osic_fvc" / "models" / "model.pt"


def test_they_are_small_and_say_what_they_are_of() -> None:
    model = read_model(WEIGHTS)
    assert WEIGHTS.stat().st_size < 2 * 2**20
    assert model.record.simulated and model["bundle"] == "osic_fvc" and model["max_epochs"] == 20
    assert model["simulation"] == {"patients": 200, "seed": 0, "resolution": 0.5} and model.record.fold == 0
    assert {"calibration", "profile"} <= model.fitted.keys()


def test_they_predict_a_simulated_scan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONAI_CPIC_CACHE", str(tmp_path / "cache"))
    cohort = OSICSimulation(patients=2, seed=1, resolution=0.25).write(tmp_path / "data", progress=False)
    bundle = BundleRun("osic_fvc", {}, {})
    bundle("inference", dataset_dir=cohort, output_dir=tmp_path / "new", model=WEIGHTS, weeks="[0,52]")
    table = Outputs(tmp_path / "new").predictions
    assert len(table) and np.isfinite(table[["FVC", "low", "high"]]).all(axis=None) and table["FVC"].between(500, 8000).all()
