"""The OSIC bundle, run as its user runs it: MONAI's own checks, then train, resume, evaluate and predict on a tiny cohort."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from bundle_run import BundleRun

from monai_cpic.phantoms import OSICSimulation

SIMULATION: dict[str, Any] = {"patients": 10, "seed": 0, "resolution": 0.25}
BUNDLE = BundleRun("osic_fvc", SIMULATION, {"spatial_shape": "[64,64,16]", "n_dims": 4, "cells": 128})
VOXELS = "{'_target_': 'monai_cpic.networks.VoxelEncoder'}"
PREDICTION_COLUMNS = ["Patient_Week", "FVC", "Confidence", "q20", "q50", "q80"]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return OSICSimulation(**SIMULATION).write(tmp_path_factory.mktemp("osic") / "data", progress=False)


@pytest.fixture(autouse=True)
def _cache(cohort: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONAI_CPIC_CACHE", str(cohort.parent / "cache"))


def test_the_whole_road(cohort: Path, tmp_path: Path) -> None:
    whole, parts, evaluation, inference = (tmp_path / name for name in ("whole", "parts", "evaluation", "inference"))
    BUNDLE.resume_as_uninterrupted(cohort, whole, parts)
    metrics = json.loads((whole / "metrics.json").read_text())
    assert (metrics["training_patients"], metrics["evaluated_patients"]) == (8, 2)
    for model in ("c_pic", "covariates_only", "constant"):
        assert metrics[model]["score"] < -4.595 and metrics[model]["pinball_loss"] > 0
    table = pd.read_csv(whole / "predictions.csv")
    assert list(table.columns)[:6] == PREDICTION_COLUMNS and len(table) == metrics["evaluated_visits"]
    assert (whole / "report.html").read_text().count("data:image/png") == 5  # curves, scatter, patients, two scans

    BUNDLE("train", "evaluate", dataset_dir=cohort, output_dir=evaluation, model_dir=whole)
    assert (evaluation / "metrics.json").read_text() == (whole / "metrics.json").read_text()

    BUNDLE("inference", dataset_dir=cohort, output_dir=inference, model=whole / "model.pt", weeks="[0,52]")
    predicted = pd.read_csv(inference / "predictions.csv")
    assert list(predicted.columns)[:6] == PREDICTION_COLUMNS and len(predicted) == 2 * 5
    assert json.loads((inference / "metrics.json").read_text())["predicted_patients"] == 5
    assert (inference / "report.html").is_file()


def test_baselines_are_a_line_apart(cohort: Path, tmp_path: Path) -> None:
    small: dict[str, object] = {"spatial_shape": "[16,16,8]", "network_def": "@resnet_def"}
    model, inference = tmp_path / "resnet", tmp_path / "inference"
    BUNDLE("train", dataset_dir=cohort, output_dir=model, max_epochs=1, val_interval=1, **small)
    metrics = json.loads((model / "metrics.json").read_text())
    assert metrics["evaluated_patients"] == 2 and metrics["network"] == "ResNet-34" and metrics["resnet_34"]["score"] < -4.595
    assert (model / "report.html").read_text().count("data:image/png") == 3  # curves, scatter, patients
    BUNDLE("inference", dataset_dir=cohort, output_dir=inference, model=model / "model.pt", weeks="[0,52]", **small)
    assert len(pd.read_csv(inference / "predictions.csv")) == 2 * 5

    small = {"spatial_shape": "[16,16,8]", "decomposition": "@tt_svd", "encoder": VOXELS}
    BUNDLE("train", "paper", dataset_dir=cohort, output_dir=tmp_path / "voxels", max_epochs=1, val_interval=1, **small)
    assert (tmp_path / "voxels" / "report.html").read_text().count("data:image/png") == 5


def test_a_broken_scan_stops_the_run_before_training(tmp_path: Path) -> None:
    broken = OSICSimulation(**SIMULATION).write(tmp_path / "data", progress=False)
    scan = sorted((broken / "train").iterdir())[4]
    slices = sorted(scan.iterdir(), key=lambda path: int(path.stem))
    slices[len(slices) // 2].unlink()
    said = BUNDLE.refusal("train", dataset_dir=broken, output_dir=tmp_path / "runs", max_epochs=1)
    assert "a slice is missing" in said and scan.name in said
    assert not list(tmp_path.glob("runs/*")), "training began"


def test_two_processes_train_as_one(cohort: Path, tmp_path: Path) -> None:
    BUNDLE.train_in_processes_as_in_one(cohort, tmp_path)


def test_the_papers_setting_is_a_configuration_away(cohort: Path, tmp_path: Path) -> None:
    BUNDLE.train_and_predict_in_the_papers_setting(cohort, tmp_path, weeks="[0,52]")


def test_monais_own_checks(cohort: Path, tmp_path: Path) -> None:
    BUNDLE.pass_monais_own_checks(cohort, tmp_path)
