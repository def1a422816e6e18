"""Saving a training, and which checkpoint one goes on from."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Engine

from monai_cpic.handlers import TrainingSaver, checkpoints, remove_checkpoints, resume_training
from monai_cpic.model_files import TrainingRecord

RECORD = TrainingRecord({"rank": 6, "head": {"width": 3}}, {"FVC": "ml"}, fold=0, seed=0, patients=["a", "b"])


def training(folder: Path, epochs: int, record: TrainingRecord = RECORD, resume: bool = False) -> torch.nn.Linear:
    """A network whose bias counts the epochs."""
    network = torch.nn.Linear(2, 1)
    torch.nn.init.zeros_(network.bias)

    def step(engine: Engine, batch: float) -> None:
        with torch.no_grad():
            network.bias.add_(1)

    trainer = Engine(step)
    trainer.state.max_epochs = epochs
    state = {"network": network, "trainer": trainer}
    TrainingSaver(folder, state, record).attach(trainer)
    if resume:
        resume_training(trainer, state, folder, record)
    trainer.run([0.0], max_epochs=epochs)
    return network


def test_the_latest_and_the_one_before_it_are_kept(tmp_path: Path) -> None:
    training(tmp_path, 11)
    (tmp_path / "model.pt").touch()
    assert list(checkpoints(tmp_path)) == [11, 10], "by number, not by name"


def test_the_old_one_goes_after_the_new_one_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    training(tmp_path, 2)

    def fails(content: Mapping[str, Any], path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(torch, "save", fails)
    with pytest.raises(OSError, match="no space"):
        training(tmp_path, 3, resume=True)
    monkeypatch.undo()
    assert list(checkpoints(tmp_path)) == [2, 1]
    assert training(tmp_path, 5, resume=True).bias.item() == 5


def test_checkpoints_are_removed_and_nothing_else(tmp_path: Path) -> None:
    for name in ("checkpoint_epoch=2.pt", "checkpoint_epoch=10.pt", "model.pt"):
        (tmp_path / name).touch()
    remove_checkpoints(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt"]


def test_a_training_that_starts_anew_replaces_later_checkpoints(tmp_path: Path) -> None:
    training(tmp_path, 7)
    training(tmp_path, 1)
    assert list(checkpoints(tmp_path)) == [1]


def test_an_unreadable_checkpoint_is_named_and_the_one_before_it_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    training(tmp_path, 4)
    latest, before = checkpoints(tmp_path).values()
    latest.write_bytes(latest.read_bytes()[:300])
    with caplog.at_level(logging.INFO, logger="monai_cpic"):
        assert training(tmp_path, 6, resume=True).bias.item() == 6
    assert f"{latest} cannot be read" in caplog.text and f"Going on from {before}" in caplog.text
    for path in checkpoints(tmp_path).values():
        path.write_bytes(b"")
    with pytest.raises(ValueError, match="none of the checkpoints .* train without resume to start anew"):
        training(tmp_path, 8, resume=True)


def test_there_may_be_nothing_to_resume(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nothing to resume"):
        training(tmp_path, 1, resume=True)


def test_fewer_epochs_than_there_are(tmp_path: Path) -> None:
    training(tmp_path, 4)
    with pytest.raises(ValueError, match="4 epochs already, more than max_epochs=3"):
        training(tmp_path, 3, resume=True)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"fold": 1}, "fold: 1 (now), 0 (saved)"),
        ({"seed": 2}, "seed: 2 (now), 0 (saved)"),
        ({"patients": ["b", "c", "d"]}, "patients: 1 of the 2 are missing, and 2 are new"),
        ({"units": {"FVC": "l"}}, "units::FVC: 'l' (now), 'ml' (saved)"),
        ({"settings": {"rank": 8, "head": {"width": 3}}}, "rank: 8 (now), 6 (saved)"),
        ({"settings": {"rank": 6, "head": {"width": 4}}}, "head::width: 4 (now), 3 (saved)"),
        ({"settings": {"rank": 6}}, "head: 'nothing' (now), {'width': 3} (saved)"),
        ({"settings": {**RECORD.settings, "zoom": 2}}, "zoom: 2 (now), 'nothing' (saved)"),
    ],
)
def test_another_training_is_refused_by_name_and_starts_anew_when_asked(other: dict[str, Any], said: str, tmp_path: Path) -> None:
    training(tmp_path, 2)
    changed = replace(RECORD, **other)
    with pytest.raises(ValueError, match="is of another training") as refused:
        training(tmp_path, 3, changed, resume=True)
    assert str(refused.value).splitlines()[1:] == [f"  {said}"]
    assert "train without resume to start anew" in str(refused.value) and "another output_dir" in str(refused.value)
    assert training(tmp_path, 1, changed).bias.item() == 1


def test_more_epochs_and_other_versions_are_no_other_training(tmp_path: Path) -> None:
    training(tmp_path, 2, replace(RECORD, settings={**RECORD.settings, "max_epochs": 2}))
    longer = replace(RECORD, settings={**RECORD.settings, "max_epochs": 3}, versions={"torch": "3.0"})
    assert training(tmp_path, 3, longer, resume=True).bias.item() == 3


def test_a_checkpoint_without_a_record(tmp_path: Path) -> None:
    torch.save({"network": {}}, tmp_path / "checkpoint_epoch=2.pt")
    with pytest.raises(ValueError, match="does not say how it was trained"):
        training(tmp_path, 3, resume=True)
