"""The epoch whose weights are kept, when a training stops early, and both after an interruption."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Engine, Events
from ignite.metrics import Metric
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator

from monai_cpic.handlers import ChooseEpoch, TrainingSaver, resume_training
from monai_cpic.model_files import TrainingRecord

RECORD = TrainingRecord({}, {}, fold=0, seed=0, patients=[])


class Given(Metric):
    """A metric with a value given for each epoch."""

    def __init__(self, values: Sequence[float], network: torch.nn.Linear) -> None:
        self.values = values
        self.network = network
        super().__init__()

    def reset(self) -> None: ...

    def update(self, output: Any) -> None: ...

    def compute(self) -> float:
        return self.values[round(self.network.bias.item()) - 1]


def training(
    folder: Path, values: Sequence[float], epochs: int, patience: int | None = None, higher: bool = True, resume: bool = False
) -> tuple[torch.nn.Linear, Engine]:
    """A network whose bias counts the epochs, and its trainer, after the training."""
    network = torch.nn.Linear(1, 1)
    torch.nn.init.zeros_(network.bias)

    def step(engine: Engine, batch: float) -> None:
        with torch.no_grad():
            network.bias.add_(1)

    trainer = Engine(step)
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(Dataset([{"image": torch.zeros(1), "label": torch.zeros(1)}])),
        network=network,
        key_val_metric={"score": Given(values, network)},
    )
    choice = ChooseEpoch(evaluator, network, higher, patience=patience)
    choice.attach(trainer)
    trainer.state.max_epochs = epochs
    state = {"network": network, "choice": choice, "trainer": trainer}
    TrainingSaver(folder, state, RECORD).attach(trainer)
    if resume:
        resume_training(trainer, state, folder, RECORD)
    trainer.run([0.0], max_epochs=epochs)
    return network, trainer


@pytest.mark.parametrize(
    ("values", "higher", "best"),
    [
        ([1, 3, 2, 3], True, 2),
        ([1, 3, 2, 0.5], False, 4),
        ([math.nan, 2, math.nan, 1], True, 2),
        ([math.nan, 2, math.nan, 1], False, 4),
        ([math.nan] * 4, True, 1),
    ],
)
def test_the_weights_of_the_best_epoch_are_kept(values: list[float], higher: bool, best: int, tmp_path: Path) -> None:
    network, trainer = training(tmp_path, values, 4, higher=higher)
    assert network.bias.item() == best and trainer.state.epoch == 4


def test_a_training_stops_after_evaluations_without_a_better_score(tmp_path: Path) -> None:
    network, trainer = training(tmp_path, [1, 2, 0, 3, 2, 1, 9], 7, patience=2)
    assert network.bias.item() == 4 and trainer.state.epoch == 6


@pytest.mark.parametrize("interrupted", range(1, 7))
def test_a_resumed_training_chooses_as_an_uninterrupted_one(interrupted: int, tmp_path: Path) -> None:
    """Also if it was interrupted after it had stopped."""
    values = [1, 2, 0, 3, 2, 1, 9]
    training(tmp_path, values, interrupted, patience=2)
    network, trainer = training(tmp_path, values, 7, patience=2, resume=True)
    assert network.bias.item() == 4 and trainer.state.epoch == 6


def test_a_training_that_has_stopped_goes_on_with_more_patience(tmp_path: Path) -> None:
    values = [1, 2, 0, 3, 2, 1, 9]
    training(tmp_path, values, 7, patience=2)
    network, trainer = training(tmp_path, values, 7, patience=3, resume=True)
    assert network.bias.item() == 7 and trainer.state.epoch == 7


def test_without_patients_who_choose_the_last_weights_are_kept() -> None:
    network = torch.nn.Linear(1, 1)
    nobody = SupervisedEvaluator(device=torch.device("cpu"), val_data_loader=DataLoader(Dataset([])), network=network)
    trainer = Engine(lambda engine, batch: None)
    choice = ChooseEpoch(nobody, network, higher_is_better=True)
    choice.attach(trainer)
    trainer.run([0.0], max_epochs=2)
    assert not trainer.has_event_handler(choice, Events.COMPLETED) and choice.state_dict()["weights"] == {}
    with pytest.raises(ValueError, match="patience=2 needs patients who are not trained on"):
        ChooseEpoch(nobody, network, higher_is_better=True, patience=2)


def test_no_epoch_was_evaluated(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    network = torch.nn.Linear(1, 1)
    evaluator = SupervisedEvaluator(device=torch.device("cpu"), val_data_loader=DataLoader(Dataset([0.0])), network=network)
    trainer = Engine(lambda engine, batch: None)
    ChooseEpoch(evaluator, network, higher_is_better=True, interval=5).attach(trainer)
    with caplog.at_level(logging.WARNING):
        trainer.run([0.0], max_epochs=4)
    assert "the last weights are kept" in caplog.text
