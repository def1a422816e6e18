"""What a report says about its predictions before the first number."""

from __future__ import annotations

from pathlib import Path

import pytest

from monai_cpic.cohorts import Provenance, is_simulated
from monai_cpic.cohorts.provenance import RESEARCH_ONLY
from monai_cpic.model_files import TrainingRecord
from monai_cpic.phantoms import OSICSimulation

REAL = TrainingRecord({}, {}, fold=3, seed=4, patients=["a", "b"])
SIMULATED = TrainingRecord({}, {}, fold=3, seed=4, patients=["a", "b"], simulated=True)


def test_simulated_cohorts_are_known_and_said(tmp_path: Path) -> None:
    OSICSimulation(patients=1, resolution=0.1).write(tmp_path / "data", progress=False)
    assert is_simulated(tmp_path / "data") and not is_simulated(tmp_path)
    assert Provenance(tmp_path / "data", REAL).notices() == ["Simulated data: these are no real patients.", RESEARCH_ONLY]
    facts = Provenance(tmp_path / "data", SIMULATED).facts("7 predicted")
    assert facts["Data"] == f"simulated, {tmp_path / 'data'}"
    assert facts["Model"] == "trained on 2 simulated patients, fold 3, seed 4"


def test_real_patients_and_a_model_of_simulated_ones(tmp_path: Path) -> None:
    assert Provenance(tmp_path, REAL).notices() == [RESEARCH_ONLY]
    assert "mean nothing" in Provenance(tmp_path, SIMULATED).notices()[0]
    assert Provenance(tmp_path, REAL).facts("1 predicted")["Data"].startswith("real, ")


@pytest.mark.parametrize(("exclude", "said"), [((), "none left out"), (("B", "A"), "2 left out as asked: A, B")])
def test_numbers_of_patients(tmp_path: Path, exclude: tuple[str, ...], said: str) -> None:
    assert Provenance(tmp_path, REAL, exclude).facts("7 predicted")["Patients"] == f"7 predicted; {said}"


def test_versions_that_have_changed_are_named(tmp_path: Path) -> None:
    assert "was trained with" not in Provenance(tmp_path, REAL).facts("")["Versions"]
    old = TrainingRecord({}, {}, 0, 0, [], versions={**REAL.versions, "torch": "1.0"})
    assert Provenance(tmp_path, old).facts("")["Versions"].endswith("; the model was trained with torch 1.0")
