"""What every bundle must do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pandas as pd
import pytest
from bundle_run import BundleRun, Outputs

from monai_cpic.phantoms.simulation import Simulation

__all__ = ["BundleTestCase"]


class BundleTestCase:
    """Tests of one training of two epochs on a tiny cohort, and of what follows from it.

    Attributes:
        bundle: with the settings of the runs.
        simulation: of the cohort.
        inference: settings of runs that predict new patients.
    """

    bundle: ClassVar[BundleRun]
    simulation: ClassVar[Simulation]
    inference: ClassVar[dict[str, object]]

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
        self.bundle.train_in_processes_as_in_one(cohort, tmp_path)

    def test_the_papers_setting_is_a_configuration_away(self, cohort: Path, tmp_path: Path) -> None:
        self.bundle.train_and_predict_in_the_papers_setting(cohort, tmp_path, **self.inference)

    def test_monais_own_checks(self, cohort: Path, tmp_path: Path) -> None:
        self.bundle.pass_monais_own_checks(cohort, tmp_path, **self.inference)
