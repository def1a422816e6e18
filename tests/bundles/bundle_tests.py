"""What every bundle must do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pandas as pd
import pytest
from bundle_run import ALL_FOLDS, BundleRun, Outputs

from monai_cpic.cohorts import bootstrap
from monai_cpic.model_files import read_model
from monai_cpic.phantoms.simulation import Simulation

__all__ = ["BundleTestCase", "FoldsTestCase"]


class BundleTestCase:
    """Tests of one training of two epochs on a tiny cohort, and of what follows from it.

    Attributes:
        bundle: with the settings of the runs.
        simulation: of the cohort.
        inference: settings of runs that predict new patients.
        killed: whether one of two processes is killed and all are started again.
    """

    bundle: ClassVar[BundleRun]
    simulation: ClassVar[Simulation]
    inference: ClassVar[dict[str, object]]
    killed: ClassVar[bool] = False

    @pytest.fixture(scope="class")
    @classmethod
    def cohort(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """A simulated cohort."""
        return cls.simulation.write(tmp_path_factory.mktemp("cohort") / "data", progress=False)

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _cache(cls, cohort: Path) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MONAI_CPIC_CACHE", str(cohort.parent / "cache"))
            patch.setattr(bootstrap, "_RESAMPLES", 50)  # of a few patients; a thousand take a quarter of these runs
            yield

    @pytest.fixture(scope="class")
    @classmethod
    def trained(cls, cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Outputs:
        """A training of two epochs."""
        folder = tmp_path_factory.mktemp("trained")
        cls.bundle("train", dataset_dir=cohort, output_dir=folder, max_epochs=2, val_interval=1)
        return Outputs(folder)

    def test_a_resumed_training_ends_as_an_uninterrupted_one(self, trained: Outputs, cohort: Path, tmp_path: Path) -> None:
        resumed = self.bundle.interrupt_and_resume(cohort, tmp_path)
        assert resumed.metrics == trained.metrics
        pd.testing.assert_frame_equal(resumed.predictions, trained.predictions)

    def test_evaluation_gives_the_metrics_of_the_training(self, trained: Outputs, cohort: Path, tmp_path: Path) -> None:
        self.bundle("evaluate", dataset_dir=cohort, output_dir=tmp_path, model=trained.model)
        assert Outputs(tmp_path).metrics == trained.metrics

    def test_another_fold_or_cohort_is_refused(self, trained: Outputs, cohort: Path, tmp_path: Path) -> None:
        resumed = {"max_epochs": 2, "val_interval": 1, "resume": True}
        said = self.bundle.refusal("train", dataset_dir=cohort, output_dir=trained.folder, fold=1, **resumed)
        assert "fold: 1 (now), 0 (saved)" in said and "patients: " in said and "to start anew" in said
        some = list(pd.read_csv(cohort / self.simulation.table).iloc[:, 0].unique()[:2])
        said = self.bundle.refusal("evaluate", dataset_dir=cohort, output_dir=tmp_path, model=trained.model, exclude=some)
        assert "patients: this cohort's training part lacks" in said and "dataset_dir and exclude" in said

    def test_two_processes_train_as_one(self, cohort: Path, tmp_path: Path) -> None:
        self.bundle.train_in_processes_as_in_one(cohort, tmp_path, self.killed)

    def test_the_papers_setting_is_a_configuration_away(self, cohort: Path, tmp_path: Path) -> None:
        self.bundle.train_and_predict_in_the_papers_setting(cohort, tmp_path, **self.inference)

    def test_monais_own_checks(self, cohort: Path, tmp_path: Path) -> None:
        self.bundle.pass_monais_own_checks(cohort, tmp_path, **self.inference)


class FoldsTestCase(BundleTestCase):
    """The tests of a bundle whose folds can be one model."""

    @pytest.fixture(scope="class")
    @classmethod
    def all_folds(cls, cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Outputs:
        """Two folds as one model."""
        folder = tmp_path_factory.mktemp("all_folds")
        cls.bundle("train", "all_folds", dataset_dir=cohort, output_dir=folder, **ALL_FOLDS)
        return Outputs(folder)

    def test_all_patients_are_predicted_by_the_network_that_does_not_know_them(self, all_folds: Outputs) -> None:
        folds = [Outputs(all_folds.folder / f"fold{fold}") for fold in range(2)]
        metrics, table = all_folds.metrics, all_folds.predictions
        assert metrics["network"] == "C-PIC" and metrics["folds"] == 2
        assert metrics["evaluated_patients"] == sum(fold.metrics["evaluated_patients"] for fold in folds)
        own = list(folds[0].predictions.columns[:4])  # without the intervals, which are calibrated on more patients
        apart = pd.concat([fold.predictions for fold in folds])[own].sort_values(own[0], ignore_index=True)
        pd.testing.assert_frame_equal(table[own].sort_values(own[0], ignore_index=True), apart)
        assert set(pd.read_csv(all_folds.folder / "baselines.csv")["model"].value_counts()) == {len(table)}
        assert metrics["intervals"]["expected_coverage"] == 0.6 and 0 <= metrics["intervals"]["coverage"] <= 1
        assert (
            metrics["intervals"]["patients"] + metrics["intervals"]["patients_of_unknown_truth"] == metrics["evaluated_patients"]
        )

    def test_new_patients_get_the_intervals_of_the_model_file(self, all_folds: Outputs, cohort: Path, tmp_path: Path) -> None:
        given = {name: str(value) for name, value in self.inference.items()}
        self.bundle("inference", dataset_dir=cohort, output_dir=tmp_path, model=all_folds.model, **given)
        self.check_intervals(Outputs(tmp_path).predictions, read_model(all_folds.model).fitted["calibration"])

    def check_intervals(self, table: pd.DataFrame, calibration: dict[str, float]) -> None:
        """Check the columns ``low`` and ``high`` of predictions of new patients."""
        raise NotImplementedError

    def test_a_mean_of_all_folds_has_no_patients_to_evaluate(self, all_folds: Outputs, cohort: Path, tmp_path: Path) -> None:
        said = self.bundle.refusal("evaluate", dataset_dir=cohort, output_dir=tmp_path, model=all_folds.model)
        assert "is the mean of the networks of all folds" in said and "fold<k>/model.pt" in said

    def test_finished_folds_with_other_settings_are_refused(self, all_folds: Outputs, cohort: Path) -> None:
        given = {**ALL_FOLDS, "resume": True, "learning_rate": 0.1}
        said = self.bundle.refusal("train", "all_folds", dataset_dir=cohort, output_dir=all_folds.folder, **given)
        assert "fold0 is of another training" in said and "learning_rate: 0.1 (now), 0.002 (saved)" in said
