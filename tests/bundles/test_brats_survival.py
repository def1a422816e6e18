"""The BraTS bundle, run as its user runs it: MONAI's own checks, then train, resume, evaluate and predict on a tiny cohort."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from bundle_run import BundleRun

from monai_cpic.phantoms import BraTSSimulation

SIMULATION: dict[str, Any] = {"patients": 10, "seed": 0, "resolution": 0.2}
BUNDLE = BundleRun("brats_survival", SIMULATION, {"spatial_shape": "[64,64,32]", "n_dims": 4, "cells": 128})
COLUMNS = ["Brats20ID", "Survival_days", "Age", "Extent_of_Resection", "Survival_days_true", "died"]
CHALLENGE = ["accuracy", "MSE", "medianSE", "stdSE", "SpearmanR"]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return BraTSSimulation(**SIMULATION).write(tmp_path_factory.mktemp("brats") / "data", progress=False)


@pytest.fixture(autouse=True)
def _cache(cohort: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONAI_CPIC_CACHE", str(cohort.parent / "cache"))


def test_the_whole_road(cohort: Path, tmp_path: Path) -> None:
    whole, parts, evaluation, inference = (tmp_path / name for name in ("whole", "parts", "evaluation", "inference"))
    BUNDLE.resume_as_uninterrupted(cohort, whole, parts)
    metrics = json.loads((whole / "metrics.json").read_text())
    table = pd.read_csv(whole / "predictions.csv", keep_default_na=False)
    assert metrics["training_patients"] + metrics["evaluated_patients"] == 9  # one is alive
    assert metrics["evaluated_patients"] == metrics["evaluated_deaths"] == len(table)
    for model in ("c_pic", "covariates_only", "ridge_on_age_and_resection", "ridge_on_age", "mean"):
        assert list(metrics[model]) == ["rmse_days", "c_index", *CHALLENGE] and metrics[model]["rmse_days"] > 0
    error = table["Survival_days"] - table["Survival_days_true"]
    assert metrics["c_pic"]["rmse_days"] == pytest.approx((error**2).mean() ** 0.5)
    assert list(table.columns) == COLUMNS
    assert (whole / "report.html").read_text().count("data:image/png") == 4  # curves, scatter, two scans

    BUNDLE("train", "evaluate", dataset_dir=cohort, output_dir=evaluation, model_dir=whole)
    assert (evaluation / "metrics.json").read_text() == (whole / "metrics.json").read_text()

    BUNDLE("inference", dataset_dir=cohort, output_dir=inference, model=whole / "model.pt", table="survival_info.csv")
    predicted = pd.read_csv(inference / "predictions.csv", keep_default_na=False).set_index("Brats20ID")
    assert len(predicted) == json.loads((inference / "metrics.json").read_text())["predicted_patients"] == 10
    for patient, days in zip(table["Brats20ID"], table["Survival_days"], strict=True):
        assert predicted["Survival_days"][patient] == pytest.approx(days, rel=1e-3)
    assert (inference / "report.html").is_file()


def test_segmentation_zoom_and_censored_patients(cohort: Path, tmp_path: Path) -> None:
    options = {"modalities": "['t1ce']", "segmentation": True, "alive": "censored", "zoom": 2, "spatial_shape": "[128,128,64]"}
    BUNDLE("train", dataset_dir=cohort, output_dir=tmp_path, max_epochs=1, val_interval=1, use_covariates=False, **options)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["training_patients"] + metrics["evaluated_patients"] == 10


def test_a_broken_scan_stops_the_run_before_training(cohort: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(cohort, tmp_path / "data")
    scan = broken / "BraTS20_Training_005" / "BraTS20_Training_005_t2.nii"
    scan.write_bytes(scan.read_bytes()[:-100])
    said = BUNDLE.refusal("train", dataset_dir=broken, output_dir=tmp_path / "runs", max_epochs=1)
    assert "is truncated" in said and scan.name in said
    assert not list(tmp_path.glob("runs/*")), "training began"


def test_real_brain_under_the_names_of_brats(cohort: Path, real_data: Path, tmp_path: Path) -> None:
    """Trained on the simulated cohort, on the grid of the real scan; any of them is padded virtually."""
    patient = "BraTS20_Validation_001"
    (tmp_path / patient).mkdir()
    (tmp_path / "survival_evaluation.csv").write_text(f"BraTS20ID,Age,ResectionStatus\n{patient},38.5,GTR\n")
    names = {"FLAIR": "flair", "T1": "t1", "T1POST": "t1ce", "T2": "t2", "GOLD": "seg"}
    for path in (real_data / "brain_openms_4mod" / "patient07").iterdir():
        (tmp_path / patient / f"{patient}_{names[path.name.split('_')[0]]}.nii.gz").symlink_to(path)
    options = {"spatial_shape": "[256,256,256]", "segmentation": True}
    BUNDLE("train", dataset_dir=cohort, output_dir=tmp_path, max_epochs=1, val_interval=1, **options)
    BUNDLE("inference", dataset_dir=tmp_path, output_dir=tmp_path / "real", model=tmp_path / "model.pt", **options)
    (predicted,) = pd.read_csv(tmp_path / "real" / "predictions.csv").to_dict("records")
    assert predicted["Brats20ID"] == patient and 0 <= predicted["Survival_days"] < 5000
    assert (tmp_path / "real" / "report.html").read_text().count("data:image/png") == 1


def test_two_processes_train_as_one(cohort: Path, tmp_path: Path) -> None:
    BUNDLE.train_in_processes_as_in_one(cohort, tmp_path)


def test_the_papers_setting_is_a_configuration_away(cohort: Path, tmp_path: Path) -> None:
    BUNDLE.train_and_predict_in_the_papers_setting(cohort, tmp_path, table="survival_info.csv")


def test_monais_own_checks(cohort: Path, tmp_path: Path) -> None:
    BUNDLE.pass_monais_own_checks(cohort, tmp_path, table="survival_info.csv")
