"""The bundle for any table, run as its user runs it: three kinds of targets, new patients, and tables that are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
import torch
from bundle_run import ALL_FOLDS, BundleRun, Outputs
from bundle_tests import FoldsTestCase

from monai_cpic.handlers import checkpoints
from monai_cpic.model_files import read_model
from monai_cpic.phantoms.simulation import Simulation, generator

COLUMNS = {"image_columns": ["ct"], "target": "score", "covariate_columns": ["age"]}


class Spheres(Simulation):
    """Spheres in noise, whose radius determines a score, a class and a survival; the radius is in the scan alone."""

    name = "spheres"
    table = "table.csv"

    def tables(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        random = generator(self.seed, 0, "table")
        radius = random.uniform(2, 7, self.patients)
        time, limit = random.exponential(np.exp(4 - radius)), random.exponential(5, self.patients)
        table = pd.DataFrame(
            {
                "patient": [f"S{number:02}" for number in range(self.patients)],
                "ct": [f"scans/{number}.npy" for number in range(self.patients)],
                "age": random.integers(40, 80, self.patients),
                "score": (10 * radius).round(2),
                "large": np.where(radius > 4.5, "yes", "no"),
                "days": np.minimum(time, limit).round(3),
                "died": (time <= limit).astype(int),
            }
        )
        return table, pd.DataFrame({"radius": radius})

    def write_patient(self, cohort: Path, number: int, truth: dict[str, Any]) -> None:
        (cohort / "scans").mkdir(exist_ok=True)
        distance = np.linalg.norm(np.indices((20, 20, 20)) - 9.5, axis=0)
        noise = generator(self.seed, number, "noise").normal(0, 0.3, distance.shape)
        np.save(cohort / "scans" / f"{number}.npy", ((distance < truth["radius"]) + noise)[None].astype(np.float32))


class TestTable(FoldsTestCase):
    bundle = BundleRun("volume_regression", COLUMNS, {"n_dims": 4})
    simulation = Spheres(10)  # an epoch is one batch
    inference: ClassVar[dict[str, object]] = {}
    killed = True

    def test_metrics_of_the_network_beside_those_of_the_baselines(self, trained: Outputs) -> None:
        metrics, table = trained.metrics, trained.predictions
        assert (metrics["training_patients"], metrics["evaluated_patients"]) == (8, 2)
        for model in ("c_pic", "covariates_only", "ridge_on_covariates", "ridge_on_covariates_and_intensities", "constant"):
            assert metrics[model]["mae"] > 0
        assert list(table.columns) == ["patient", "line", "score", "q20", "q80", "score_true"]
        assert metrics["c_pic"]["mae"] == pytest.approx((table["score"] - table["score_true"]).abs().mean())
        assert trained.pictures == 6

    def test_the_model_file_holds_what_was_found(self, trained: Outputs) -> None:
        settings = read_model(trained.model).record.settings
        assert settings["fingerprint"]["scans"] == 10 and settings["spatial_shape"] == [32, 32, 32]
        assert settings["cohort_settings"]["kind"] == "number" and "table" not in settings

    @pytest.fixture(scope="class")
    @classmethod
    def all_folds(cls, cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Outputs:
        """Two folds as one model, trained with an interruption."""
        return cls.bundle.interrupt_and_resume_all_folds(cohort, tmp_path_factory.mktemp("all_folds"))

    def check_intervals(self, table: pd.DataFrame, calibration: dict[str, float]) -> None:
        for end, quantile in (("low", "q20"), ("high", "q80")):
            expected = table["score"] + calibration["factor"] * (table[quantile] - table["score"])
            assert table[end].tolist() == pytest.approx(expected.tolist())

    def test_each_of_all_folds_ends_as_its_own_training(self, all_folds: Outputs, cohort: Path, tmp_path: Path) -> None:
        self.bundle("train", dataset_dir=cohort, output_dir=tmp_path, fold=1, fitted_to="all", **{**ALL_FOLDS, "max_epochs": 2})
        single, fold = Outputs(tmp_path), Outputs(all_folds.folder / "fold1")
        assert fold.metrics == single.metrics
        pd.testing.assert_frame_equal(fold.predictions, single.predictions)

    def test_the_epoch_is_chosen_by_patients_who_are_not_trained_on(
        self, cohort: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """A resumed training chooses as an uninterrupted one, and the choosers are among the patients of the training part.

        Three scans stay on the device; the evaluation reads them from disk.
        """
        tuned: dict[str, Any] = {"tuning": 0.25, "patience": 1, "tensorboard": True, "scans_on_device": 1.5e-4}
        given: dict[str, Any] = {"dataset_dir": cohort, "max_epochs": 2, "val_interval": 1}
        self.bundle("train", output_dir=tmp_path / "whole", **given, **tuned)
        assert "3 scans are on cpu; the others do not fit" in "".join(capfd.readouterr())
        whole, resumed = Outputs(tmp_path / "whole"), self.bundle.interrupt_and_resume(cohort, tmp_path / "resumed", **tuned)
        assert whole.metrics == resumed.metrics and whole.metrics["training_patients"] == 8
        pd.testing.assert_frame_equal(whole.predictions, resumed.predictions)
        choice = torch.load(checkpoints(whole.folder)[2], weights_only=True)["choice"]
        best = read_model(whole.model).weights
        assert choice["epoch"] in (1, 2) and all(torch.equal(best[name], value) for name, value in choice["weights"].items())
        assert list((whole.folder / "tensorboard" / "training").iterdir())
        self.bundle("evaluate", dataset_dir=cohort, output_dir=tmp_path / "evaluation", model=whole.model)
        assert Outputs(tmp_path / "evaluation").metrics == whole.metrics

    def test_inference_predicts_a_patient_as_the_evaluation_did(self, trained: Outputs, cohort: Path, tmp_path: Path) -> None:
        table = pd.read_csv(cohort / "table.csv").drop(columns=["score", "days", "died"])
        table.to_csv(cohort / "new.csv", index=False)
        self.bundle("inference", dataset_dir=cohort, output_dir=tmp_path, model=trained.model, table=cohort / "new.csv")
        predicted = Outputs(tmp_path).predictions.set_index("patient")["score"]
        assert len(predicted) == 10
        for patient, evaluated in zip(trained.predictions["patient"], trained.predictions["score"], strict=True):
            assert predicted[patient] == pytest.approx(evaluated, rel=1e-3)

    @pytest.mark.parametrize("target, event, key", [("large", "$None", "auc"), ("days", "died", "c_index")])
    def test_other_kinds(self, cohort: Path, tmp_path: Path, target: str, event: str, key: str) -> None:
        options = {"target": target, "event": event, "max_epochs": 1, "val_interval": 1}
        self.bundle("train", dataset_dir=cohort, output_dir=tmp_path, **options)
        run = Outputs(tmp_path)
        assert {key, f"{key}_interval"} <= set(run.metrics["c_pic"]) and run.pictures == 6
        self.bundle("inference", dataset_dir=cohort, output_dir=tmp_path / "new", model=run.model)
        assert len(Outputs(tmp_path / "new").predictions) == 10

    def test_scans_of_other_channels_are_refused(self, trained: Outputs, tmp_path: Path) -> None:
        np.save(tmp_path / "two.npy", np.zeros((2, 20, 20, 20), np.float32))
        (tmp_path / "table.csv").write_text("patient,ct,age\nA,two.npy,60\n")
        said = self.bundle.refusal("inference", dataset_dir=tmp_path, output_dir=tmp_path / "new", model=trained.model)
        assert "1 of 1 scans were not predicted" in said
        (failure,) = pd.read_csv(tmp_path / "new" / "failures.csv").to_dict("records")
        assert failure["patient"] == "A" and "2 channels" in failure["reason"]

    def test_a_broken_table_stops_the_run_before_training(self, cohort: Path, tmp_path: Path) -> None:
        options = {"target": "score", "covariate_columns": "['score']"}
        said = self.bundle.refusal("train", dataset_dir=cohort, output_dir=tmp_path, max_epochs=1, **options)
        assert "the covariate 'score' equals the target 'score'" in said and not list(tmp_path.glob("*.pt"))
