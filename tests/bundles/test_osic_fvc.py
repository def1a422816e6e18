"""The OSIC bundle, run as its user runs it: MONAI's own checks, then train, resume, evaluate and predict on a tiny cohort."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from bundle_run import BundleRun, Outputs

from monai_cpic.phantoms import OSICSimulation

SIMULATION: dict[str, Any] = {"patients": 10, "seed": 0, "resolution": 0.25}
BUNDLE = BundleRun("osic_fvc", SIMULATION, {"spatial_shape": "[64,64,16]", "n_dims": 4, "cells": 128})
VOXELS = "{'_target_': 'monai_cpic.networks.VoxelEncoder'}"
PREDICTION_COLUMNS = ["Patient_Week", "FVC", "Confidence", "q20", "q50", "q80"]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return OSICSimulation(**SIMULATION).write(tmp_path_factory.mktemp("osic") / "data", progress=False)


@pytest.fixture(scope="module", autouse=True)
def _cache(cohort: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MONAI_CPIC_CACHE", str(cohort.parent / "cache"))
        yield


@pytest.fixture(scope="module")
def trained(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Outputs:
    """A training of two epochs."""
    folder = tmp_path_factory.mktemp("trained")
    BUNDLE("train", dataset_dir=cohort, output_dir=folder, max_epochs=2, val_interval=1)
    return Outputs(folder)


def test_metrics_of_the_network_beside_those_of_the_references(trained: Outputs) -> None:
    metrics = trained.metrics
    assert (metrics["network"], metrics["training_patients"], metrics["evaluated_patients"]) == ("C-PIC", 8, 2)
    for model in ("c_pic", "covariates_only", "constant"):
        assert metrics[model]["score"] < -4.595 and metrics[model]["pinball_loss"] > 0


def test_a_prediction_for_each_measured_visit(trained: Outputs) -> None:
    assert list(trained.predictions.columns)[:6] == PREDICTION_COLUMNS
    assert len(trained.predictions) == trained.metrics["evaluated_visits"]


def test_the_report_has_curves_scatter_patients_and_two_scans(trained: Outputs) -> None:
    assert trained.pictures == 5


def test_a_resumed_training_ends_as_an_uninterrupted_one(trained: Outputs, cohort: Path, tmp_path: Path) -> None:
    resumed = BUNDLE.interrupt_and_resume(cohort, tmp_path)
    assert resumed.metrics == trained.metrics
    pd.testing.assert_frame_equal(resumed.predictions, trained.predictions)


def test_evaluation_gives_the_metrics_of_the_training(trained: Outputs, cohort: Path, tmp_path: Path) -> None:
    BUNDLE("train", "evaluate", dataset_dir=cohort, output_dir=tmp_path, model_dir=trained.folder)
    assert Outputs(tmp_path).metrics == trained.metrics


def test_inference_predicts_the_asked_weeks_of_new_patients(trained: Outputs, cohort: Path, tmp_path: Path) -> None:
    BUNDLE("inference", dataset_dir=cohort, output_dir=tmp_path, model=trained.model, weeks="[0,52]")
    predicted = Outputs(tmp_path)
    assert list(predicted.predictions.columns)[:6] == PREDICTION_COLUMNS and len(predicted.predictions) == 2 * 5
    assert predicted.metrics["predicted_patients"] == 5 and predicted.pictures > 0


def test_baselines_are_a_line_apart(cohort: Path, tmp_path: Path) -> None:
    small: dict[str, object] = {"spatial_shape": "[16,16,8]", "network_def": "@resnet_def"}
    model, inference = tmp_path / "resnet", tmp_path / "inference"
    BUNDLE("train", dataset_dir=cohort, output_dir=model, max_epochs=1, val_interval=1, **small)
    resnet = Outputs(model)
    assert resnet.metrics["network"] == "ResNet-34" and resnet.metrics["resnet_34"]["score"] < -4.595
    assert resnet.pictures == 3  # curves, scatter, patients
    BUNDLE("inference", dataset_dir=cohort, output_dir=inference, model=model / "model.pt", weeks="[0,52]", **small)
    assert len(pd.read_csv(inference / "predictions.csv")) == 2 * 5

    small = {"spatial_shape": "[16,16,8]", "decomposition": "@tt_svd", "encoder": VOXELS}
    BUNDLE("train", "paper", dataset_dir=cohort, output_dir=tmp_path / "voxels", max_epochs=1, val_interval=1, **small)
    assert Outputs(tmp_path / "voxels").pictures == 5


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
