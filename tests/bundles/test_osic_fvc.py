"""The OSIC bundle, run as its user runs it: MONAI's own checks, then train, resume, evaluate and predict on a tiny cohort."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
import pydicom
import pytest
from bundle_run import BundleRun, Outputs
from bundle_tests import FoldsTestCase

from monai_cpic.phantoms import OSICSimulation

SIMULATION: dict[str, Any] = {"patients": 10, "seed": 0, "resolution": 0.25}
VOXELS = "{'_target_': 'monai_cpic.networks.VoxelEncoder'}"
PREDICTION_COLUMNS = ["Patient_Week", "FVC", "Confidence", "q20", "q50", "q80"]


class TestOSIC(FoldsTestCase):
    bundle = BundleRun(
        "osic_fvc", {"simulation": SIMULATION}, {"spatial_shape": "[64,64,16]", "voxels": "resized", "n_dims": 4, "cells": 128}
    )
    simulation = OSICSimulation(**SIMULATION)
    inference: ClassVar[dict[str, object]] = {"weeks": [0, 52]}

    def test_metrics_of_the_network_beside_those_of_the_baselines(self, trained: Outputs) -> None:
        metrics = trained.metrics
        assert (metrics["network"], metrics["training_patients"], metrics["evaluated_patients"]) == ("C-PIC", 8, 2)
        for model in ("c_pic", "covariates_only", "ridge", "baseline_and_mean_slope", "constant"):
            low, high = metrics[model]["score_interval"]
            assert low <= metrics[model]["score"] <= high < -4.595 and metrics[model]["pinball_loss"] > 0
        difference = metrics["c_pic_minus_best_baseline"]
        assert difference["score"] == pytest.approx(metrics["c_pic"]["score"] - metrics[difference["best_baseline"]]["score"])

    def test_a_prediction_for_each_measured_visit(self, trained: Outputs) -> None:
        assert list(trained.predictions.columns)[:6] == PREDICTION_COLUMNS
        assert len(trained.predictions) == trained.metrics["evaluated_visits"]

    def test_the_report_has_curves_scatter_patients_and_two_scans(self, trained: Outputs) -> None:
        assert trained.pictures == 10  # curves, two scatters, calibration, two patients, two pictures of each of their scans

    def check_intervals(self, table: pd.DataFrame, calibration: dict[str, float]) -> None:
        for end, quantile in (("low", "q20"), ("high", "q80")):
            assert table[end].tolist() == pytest.approx(
                (table["q50"] + calibration["factor"] * (table[quantile] - table["q50"])).tolist()
            )

    def test_inference_predicts_the_asked_weeks_of_new_patients(self, trained: Outputs, cohort: Path, tmp_path: Path) -> None:
        self.bundle("inference", dataset_dir=cohort, output_dir=tmp_path, model=trained.model, weeks="[0,52]", maps=True)
        predicted = Outputs(tmp_path)
        assert list(predicted.predictions.columns)[:6] == PREDICTION_COLUMNS and len(predicted.predictions) == 2 * 5
        assert predicted.metrics["predicted_patients"] == 5 and predicted.pictures > 0
        written = {path.name for path in (tmp_path / "maps").iterdir()}
        assert written == {f"{path.name}.nii.gz" for path in (cohort / "test").iterdir()}
        warned = predicted.predictions.dropna(subset="warning")["Patient_Week"].str.rsplit("_", n=1).str[0]
        assert predicted.metrics["patients_with_a_warning"] == warned.nunique() < 3  # the range of few training scans is short

    def test_scans_that_do_not_belong_here(self, trained: Outputs, cohort: Path, tmp_path: Path) -> None:
        new = shutil.copytree(cohort, tmp_path / "data")
        wide, brain = sorted((new / "test").iterdir())[2:4]
        for path in wide.iterdir():
            dataset = pydicom.dcmread(path)
            dataset.PixelSpacing = [10 * spacing for spacing in dataset.PixelSpacing]
            dataset.save_as(path)
        self.bundle("inference", dataset_dir=new, output_dir=tmp_path / "wide", model=trained.model, weeks="[0,52]")
        warnings = Outputs(tmp_path / "wide").predictions.set_index("Patient_Week")["warning"].dropna()
        warnings = warnings[warnings.str.contains("voxel spacing in mm from left to right is ")]
        assert list(warnings.index) == [f"{wide.name}_{week}" for week in (0, 52)]
        assert "Scans unlike those of the training" in (tmp_path / "wide" / "report.html").read_text()
        for path in brain.iterdir():
            dataset = pydicom.dcmread(path)
            dataset.Modality = "MR"
            dataset.save_as(path)
        said = self.bundle.refusal("inference", dataset_dir=new, output_dir=tmp_path / "brain", model=trained.model)
        assert "1 of 5 scans were not predicted" in said
        failures = pd.read_csv(tmp_path / "brain" / "failures.csv")
        assert failures["patient"].tolist() == [brain.name]
        assert "its modality is MR, that of the training scans CT" in failures["reason"][0]

    def test_baselines_are_a_line_apart(self, cohort: Path, tmp_path: Path) -> None:
        small: dict[str, object] = {"spatial_shape": "[16,16,8]", "voxels": "resized", "network_def": "@resnet_def"}
        model, inference = tmp_path / "resnet", tmp_path / "inference"
        self.bundle("train", dataset_dir=cohort, output_dir=model, max_epochs=1, val_interval=1, **small)
        resnet = Outputs(model)
        assert resnet.metrics["network"] == "ResNet-34" and resnet.metrics["resnet_34"]["score"] < -4.595
        assert resnet.pictures == 6  # the same without the scans
        self.bundle("inference", dataset_dir=cohort, output_dir=inference, model=resnet.model, weeks="[0,52]")
        assert len(pd.read_csv(inference / "predictions.csv")) == 2 * 5

        small = {"spatial_shape": "[16,16,8]", "decomposition": "@tt_svd", "encoder": VOXELS}
        self.bundle("train", "paper", dataset_dir=cohort, output_dir=tmp_path / "voxels", max_epochs=1, val_interval=1, **small)
        assert Outputs(tmp_path / "voxels").pictures == 10

    def test_a_broken_scan_stops_the_run_before_training(self, tmp_path: Path) -> None:
        broken = self.simulation.write(tmp_path / "data", progress=False)
        scan = sorted((broken / "train").iterdir())[4]
        slices = sorted(scan.iterdir(), key=lambda path: int(path.stem))
        slices[len(slices) // 2].unlink()
        said = self.bundle.refusal("train", dataset_dir=broken, output_dir=tmp_path / "runs", max_epochs=1)
        assert "a slice is missing" in said and scan.name in said
        assert not list(tmp_path.glob("runs/*.pt")), "training began"
