"""The weights that bundles come with: small, of simulated patients, and able to predict a scan."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bundle_run import REPOSITORY, BundleRun, Outputs

from monai_cpic.model_files import read_model
from monai_cpic.phantoms import BraTSSimulation, OSICSimulation

OF = {  # the simulations and the numbers of epochs
    "osic_fvc": ({"patients": 200, "seed": 0, "resolution": 0.5}, 20),
    "brats_survival": ({"patients": 100, "seed": 0, "resolution": 1.0}, 10),
}


def weights(bundle: str) -> Path:
    return REPOSITORY / "bundles" / bundle / "models" / "model.pt"


@pytest.mark.parametrize("bundle", OF)
def test_they_are_small_and_say_what_they_are_of(bundle: str) -> None:
    model, (simulation, epochs) = read_model(weights(bundle)), OF[bundle]
    assert weights(bundle).stat().st_size < 2.5 * 2**20
    assert model.record.simulated and model["bundle"] == bundle and model["max_epochs"] == epochs
    assert model["simulation"] == simulation and model.record.fold == 0
    assert {"calibration", "profile"} <= model.fitted.keys()


def test_they_predict_a_simulated_brain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONAI_CPIC_CACHE", str(tmp_path / "cache"))
    cohort = BraTSSimulation(patients=2, seed=1).write(tmp_path / "data", progress=False)  # of the spacing of the training
    bundle = BundleRun("brats_survival", {}, {})
    (cohort / "survival_info.csv").rename(cohort / "survival_evaluation.csv")
    bundle("inference", dataset_dir=cohort, output_dir=tmp_path / "new", model=weights("brats_survival"))
    table = Outputs(tmp_path / "new").predictions
    assert len(table) and table["Survival_days"].between(50, 1500).all()


def test_they_predict_a_simulated_scan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONAI_CPIC_CACHE", str(tmp_path / "cache"))
    cohort = OSICSimulation(patients=2, seed=1, resolution=0.25).write(tmp_path / "data", progress=False)
    bundle = BundleRun("osic_fvc", {}, {})
    bundle("inference", dataset_dir=cohort, output_dir=tmp_path / "new", model=weights("osic_fvc"), weeks="[0,52]")
    table = Outputs(tmp_path / "new").predictions
    assert len(table) and np.isfinite(table[["FVC", "low", "high"]]).all(axis=None) and table["FVC"].between(500, 8000).all()
