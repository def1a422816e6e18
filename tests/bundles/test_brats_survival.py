"""The BraTS bundle, run as its user runs it: MONAI's own checks, then train, resume, evaluate and predict on a tiny cohort."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
import pytest
from bundle_run import BundleRun, Outputs
from bundle_tests import FoldsTestCase

from monai_cpic.phantoms import BraTSSimulation

SIMULATION: dict[str, Any] = {"patients": 10, "seed": 0, "resolution": 0.2}
COLUMNS = ["Brats20ID", "Survival_days", "Age", "Extent_of_Resection", "Survival_days_true", "died"]
CHALLENGE = ["accuracy", "MSE", "medianSE", "stdSE", "SpearmanR"]


class TestBraTS(FoldsTestCase):
    bundle = BundleRun("brats_survival", {"simulation": SIMULATION}, {"spatial_shape": "[64,64,32]", "n_dims": 4, "cells": 128})
    simulation = BraTSSimulation(**SIMULATION)
    inference: ClassVar[dict[str, object]] = {"table": "survival_info.csv"}

    def test_metrics_of_the_network_beside_those_of_the_baselines(self, trained: Outputs) -> None:
        metrics, table = trained.metrics, trained.predictions
        assert metrics["network"] == "C-PIC"
        assert metrics["training_patients"] + metrics["evaluated_patients"] == 9  # one is alive
        assert metrics["evaluated_patients"] == metrics["evaluated_deaths"] == len(table)
        scores = ["rmse_days", "c_index", *CHALLENGE]
        both = ("ridge_on_age_and_resection", "cox_on_age_and_resection")
        for model in ("c_pic", "covariates_only", *both, "ridge_on_age", "mean"):
            assert list(metrics[model]) == [name for score in scores for name in (score, f"{score}_interval")]
            assert metrics[model]["rmse_days"] > 0
        assert metrics["c_pic_minus_best_baseline"]["best_baseline"] in metrics
        error = table["Survival_days"] - table["Survival_days_true"]
        assert metrics["c_pic"]["rmse_days"] == pytest.approx((error**2).mean() ** 0.5)

    def test_a_prediction_for_each_patient(self, trained: Outputs) -> None:
        assert list(trained.predictions.columns) == COLUMNS

    def test_the_report_has_curves_scatter_and_two_scans(self, trained: Outputs) -> None:
        assert trained.pictures == 7  # curves, scatter, calibration, two of each of two scans

    def check_intervals(self, table: pd.DataFrame, calibration: dict[str, float]) -> None:
        low, high = table["Survival_days"] - calibration["below"], table["Survival_days"] + calibration["above"]
        assert table["low"].tolist() == pytest.approx(low.clip(lower=0).tolist())
        assert table["high"].tolist() == pytest.approx(high.clip(lower=0).tolist())

    def test_inference_predicts_a_patient_as_the_evaluation_did(self, trained: Outputs, cohort: Path, tmp_path: Path) -> None:
        self.bundle("inference", dataset_dir=cohort, output_dir=tmp_path, model=trained.model, table="survival_info.csv")
        predicted = Outputs(tmp_path)
        assert len(predicted.predictions) == predicted.metrics["predicted_patients"] == 10 and predicted.pictures > 0
        days = predicted.predictions.set_index("Brats20ID")["Survival_days"]
        for patient, evaluated in zip(trained.predictions["Brats20ID"], trained.predictions["Survival_days"], strict=True):
            assert days[patient] == pytest.approx(evaluated, rel=1e-3)

    def test_segmentation_zoom_and_censored_patients(self, cohort: Path, tmp_path: Path) -> None:
        options = {
            "modalities": "['t1ce']",
            "segmentation": True,
            "alive": "censored",
            "zoom": 2,
            "spatial_shape": "[128,128,64]",
        }
        self.bundle(
            "train", dataset_dir=cohort, output_dir=tmp_path, max_epochs=1, val_interval=1, use_covariates=False, **options
        )
        metrics = Outputs(tmp_path).metrics
        assert metrics["training_patients"] + metrics["evaluated_patients"] == 10
        assert metrics["cox_on_age_resection_and_tumour_volume"]["rmse_days"] > 0

    def test_a_broken_scan_stops_the_run_before_training(self, cohort: Path, tmp_path: Path) -> None:
        broken = shutil.copytree(cohort, tmp_path / "data")
        scan = broken / "BraTS20_Training_005" / "BraTS20_Training_005_t2.nii"
        scan.write_bytes(scan.read_bytes()[:-100])
        said = self.bundle.refusal("train", dataset_dir=broken, output_dir=tmp_path / "runs", max_epochs=1)
        assert "is truncated" in said and scan.name in said
        assert not list(tmp_path.glob("runs/*.pt")), "training began"

    def test_real_brain_under_the_names_of_brats(self, cohort: Path, real_data: Path, tmp_path: Path) -> None:
        """Trained on the simulated cohort, on the grid of the real scan; any of them is padded virtually."""
        patient = "BraTS20_Validation_001"
        (tmp_path / patient).mkdir()
        (tmp_path / "survival_evaluation.csv").write_text(f"BraTS20ID,Age,ResectionStatus\n{patient},38.5,GTR\n")
        names = {"FLAIR": "flair", "T1": "t1", "T1POST": "t1ce", "T2": "t2", "GOLD": "seg"}
        for path in (real_data / "brain_openms_4mod" / "patient07").iterdir():
            (tmp_path / patient / f"{patient}_{names[path.name.split('_')[0]]}.nii.gz").symlink_to(path)
        options = {"spatial_shape": "[256,256,256]", "segmentation": True}
        self.bundle("train", dataset_dir=cohort, output_dir=tmp_path, max_epochs=1, val_interval=1, **options)
        self.bundle("inference", dataset_dir=tmp_path, output_dir=tmp_path / "real", model=tmp_path / "model.pt")
        (predicted,) = pd.read_csv(tmp_path / "real" / "predictions.csv").to_dict("records")
        assert predicted["Brats20ID"] == patient and 0 <= predicted["Survival_days"] < 5000
        assert Outputs(tmp_path / "real").pictures == 2
