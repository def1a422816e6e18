"""The trainings of all folds, one after the other, by a configuration that trains nothing."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import ConfigParser

from monai_cpic.model_files import read_model

TRAINING: dict[str, Any] = {
    "initialize": ["$logging.getLogger('training').warning('fold %s, resume %s', @fold, @resume)"],
    "run": [
        "$torch.save({}, pathlib.Path(@output_dir, 'checkpoint_epoch=1.pt')) if pathlib.Path(@output_dir).mkdir(exist_ok=True) "
        "is None else None",
        "$1 / (@fold != @broken)",
        "$model_files.write_model(@output_dir + '/model.pt', @network, @record)",
        "$cohorts.write_held_out(@output_dir)",
    ],
    "finalize": [],
}
CONFIG: dict[str, Any] = {
    "imports": ["$import " + name for name in ("logging", "pathlib", "torch", "monai_cpic.cohorts as cohorts")]
    + ["$import monai_cpic.model_files as model_files"],
    "fold": "all",
    "broken": None,
    "max_epochs": 2,
    "rank": 5,
    "network": {"_target_": "torch.nn.Linear", "in_features": 1, "out_features": 1},
    "settings": {"max_epochs": "@max_epochs", "rank": "@rank"},
    "record": {
        "_target_": "monai_cpic.model_files.TrainingRecord",
        "settings": "@settings",
        "units": {},
        "fold": "@fold",
        "seed": 0,
        "patients": "$[str(number) for number in range(3) if number != @fold]",
    },
    "all_folds": {"training": TRAINING, "folders": "$cohorts.train_folds(@output_dir, 3, @resume)"},
}


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """What the trainings say."""
    caplog.set_level(logging.WARNING, "training")
    return caplog


def run(folder: Path, said: pytest.LogCaptureFixture, resume: bool = False, **given: Any) -> list[str]:
    """Train all folds; which were trained, and whether from a checkpoint."""
    said.clear()
    parser = ConfigParser({**CONFIG, "output_dir": str(folder), "resume": resume, **given})
    folders = parser.get_parsed_content("all_folds::folders")
    assert folders == [folder / f"fold{fold}" for fold in range(3)]
    return trained(said)


def trained(said: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in said.records if record.name == "training"]


def test_each_fold_is_a_training_of_its_own(tmp_path: Path, said: pytest.LogCaptureFixture) -> None:
    everyone = [f"fold {fold}, resume False" for fold in range(3)]
    assert run(tmp_path, said) == everyone
    records = [read_model(tmp_path / f"fold{fold}" / "model.pt").record for fold in range(3)]
    assert [record.fold for record in records] == [0, 1, 2] and records[1].patients == ["0", "2"]
    assert run(tmp_path, said) == everyone, "without resume all start anew"
    assert run(tmp_path, said, resume=True) == []
    assert run(tmp_path, said, resume=True, max_epochs=3) == [f"fold {fold}, resume True" for fold in range(3)]


def test_an_interrupted_fold_goes_on(tmp_path: Path, said: pytest.LogCaptureFixture) -> None:
    with pytest.raises(RuntimeError):
        run(tmp_path, said, broken=1)
    assert trained(said) == ["fold 0, resume False", "fold 1, resume False"]
    assert run(tmp_path, said, resume=True) == ["fold 1, resume True", "fold 2, resume False"]


def test_what_an_earlier_training_left_does_not_count(tmp_path: Path, said: pytest.LogCaptureFixture) -> None:
    run(tmp_path, said)
    with pytest.raises(RuntimeError):
        run(tmp_path, said, broken=1)
    assert run(tmp_path, said, resume=True) == ["fold 1, resume True"], "fold 2 is of the same training"


def test_finished_folds_of_another_training_are_refused(tmp_path: Path, said: pytest.LogCaptureFixture) -> None:
    run(tmp_path, said)
    with pytest.raises(RuntimeError) as refused:
        run(tmp_path, said, resume=True, rank=6)
    message = str(refused.value.__cause__)
    assert "fold0 is of another training" in message and "rank: 6 (now), 5 (saved)" in message and not trained(said)
    assert torch.load(tmp_path / "fold0" / "held_out.pt", weights_only=True) == {}
