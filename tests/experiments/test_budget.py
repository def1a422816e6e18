"""The number of epochs that fit into some processor time, by a clock that counts epochs."""

from __future__ import annotations

import itertools
from pathlib import Path
from types import SimpleNamespace

import pytest
from stand_ins import write_cohorts

from monai_cpic.experiments import budget
from monai_cpic.experiments.real.cohorts import COHORTS
from monai_cpic.experiments.real.methods import METHODS
from monai_cpic.experiments.real.places import places, table_of
from monai_cpic.experiments.real.trials import trials

BUNDLE = Path(__file__).resolve().parents[2] / "bundles" / "volume_regression"


@pytest.mark.parametrize(
    ("batch", "whole", "epochs"),
    [(2, False, 15), (5, False, 20), (5, True, 12)],
    ids=["6 of 8 scans are timed", "a smaller last batch", "without it"],
)
def test_scans_count_not_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int, whole: bool, epochs: int) -> None:
    monkeypatch.setenv("MONAI_CPIC_CACHE", str(tmp_path / "cache"))
    data, cohort = write_cohorts(tmp_path / "data", patients=10), COHORTS[0]
    cohort.write_table(data, "volume_mm3", table_of(cohort, "volume_mm3", tmp_path / "runs"))
    small = {"n_dims": 4, "rank": 2, "batch_size": batch, "train::dataloader::drop_last": whole}
    (cells,) = [method for method in METHODS if method.name == "random cells"]
    (trial,) = trials(places([cohort], tmp_path / "runs", [0]), [cells], tmp_path / "runs", small)
    clock = map(float, itertools.count())  # a second from the beginning of an epoch to its end
    monkeypatch.setattr(budget, "time", SimpleNamespace(process_time=lambda: next(clock)))
    found = budget.epochs_within(20, BUNDLE, [str(BUNDLE / "configs" / "train.yaml")], trial.job.overrides)
    assert found == epochs
    assert not trial.job.folder.exists(), "the trial leaves nothing"
