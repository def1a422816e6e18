"""Save a training at intervals, and continue it when it was interrupted."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from ignite.handlers import Checkpoint

from monai_cpic.model_files.model_file import load_plain
from monai_cpic.model_files.record import TrainingRecord
from monai_cpic.staging import write_whole

__all__ = ["TrainingSaver", "checkpoints", "remove_checkpoints", "resume_training"]

logger = logging.getLogger(__name__)


class TrainingSaver:
    """Save a training after every ``interval`` epochs, so that at any moment a whole checkpoint is there.

    A checkpoint is written aside and renamed; afterwards all others but the one before it are deleted.
    (:class:`monai.handlers.CheckpointSaver` writes in place, and deletes the old one before it writes the new one.)

    Args:
        folder: the folder of the checkpoints, ``checkpoint_epoch=N.pt``.
        state: what is saved: objects with ``state_dict``, such as the network, the optimizer and the trainer, by name.
        record: the record of the training, with which :func:`resume_training` compares.
        interval: number of epochs between two checkpoints.
    """

    def __init__(self, folder: str | Path, state: Mapping[str, Any], record: TrainingRecord, interval: int = 1) -> None:
        self.folder = Path(folder)
        self.state = dict(state)
        self.record = record
        self.interval = interval

    def attach(self, engine: Engine) -> None:
        """Register with a trainer."""
        save = Checkpoint(
            {**_with_scaler(engine, self.state), "record": self.record},
            self._write,
            filename_pattern="checkpoint_epoch={global_step}.{ext}",
            global_step_transform=lambda engine, event: engine.state.epoch,
            n_saved=None,
        )
        engine.add_event_handler(Events.EPOCH_COMPLETED(every=self.interval), save)

    def _write(self, checkpoint: Mapping[str, Any], filename: str) -> None:
        with write_whole(self.folder / filename) as unfinished:
            torch.save(checkpoint, unfinished)
        there = checkpoints(self.folder)
        epoch = next(number for number, other in there.items() if other.name == filename)
        kept = [number for number in there if number <= epoch][:2]  # later ones are of a training that this one replaces
        for number, other in there.items():
            if number not in kept:
                other.unlink()


def checkpoints(folder: str | Path) -> dict[int, Path]:
    """The checkpoints of a folder by their epochs, the latest first."""
    numbered = ((re.fullmatch(r"checkpoint_epoch=(\d+)\.pt", path.name), path) for path in Path(folder).glob("*.pt"))
    return dict(sorted(((int(found[1]), path) for found, path in numbered if found), reverse=True))


def remove_checkpoints(folder: str | Path) -> None:
    """Delete the checkpoints of a folder, so that nothing goes on from those of an earlier training."""
    for path in checkpoints(folder).values():
        path.unlink()


def resume_training(
    trainer: Engine, state: Mapping[str, Any], folder: str | Path, record: TrainingRecord, device: str | torch.device = "cpu"
) -> None:
    """Let a trainer start from the latest readable checkpoint of a folder; its ``run`` then continues with the next epoch.

    Args:
        trainer: the trainer, which must also be a part of ``state``.
        state: the objects in the checkpoint, as passed to :class:`TrainingSaver`.
        folder: the folder in which that handler saves.
        record: the record of this training.
        device: the device to load tensors to.

    Raises:
        FileNotFoundError: if there is no checkpoint.
        ValueError: if none can be read, or the one of another training is there: of other patients, with another fold, seed or
            settings, or whose schedule of the learning rate has another length (``total_steps``).
    """
    path, checkpoint = _latest_readable(Path(folder), device)
    way_out = "train without resume to start anew, which replaces the checkpoints there, or with another output_dir"
    if "record" not in checkpoint:
        raise ValueError(f"{path} does not say how it was trained (monai_cpic 0.1 wrote it): {way_out}")
    found = record.differences(TrainingRecord.from_state_dict(checkpoint["record"]))
    steps = getattr(state.get("scheduler"), "total_steps", None)
    saved = checkpoint.get("scheduler", {}).get("total_steps")
    if steps != saved:
        found.append(f"steps in all (max_epochs, patients, batch_size): {steps!r} (now), {saved!r} (saved)")
    if found:
        lines = "\n  ".join(found)
        raise ValueError(f"{path} is of another training; resume with its settings, {way_out}:\n  {lines}")
    logger.info("Going on from %s.", path)

    def load(engine: Engine) -> None:
        epochs = engine.state.max_epochs
        Checkpoint.load_objects(to_load=_with_scaler(engine, state), checkpoint=checkpoint)
        if epochs is not None and engine.state.epoch > epochs:
            raise ValueError(f"{path} has {engine.state.epoch} epochs already, more than max_epochs={epochs}: ask for more")
        engine.state.max_epochs = epochs

    trainer.add_event_handler(Events.STARTED, load)


def _with_scaler(trainer: Engine, state: Mapping[str, Any]) -> dict[str, Any]:
    """The state, and what scales the gradients of MONAI's trainer in mixed precision."""
    scaler = getattr(trainer, "scaler", None)
    return dict(state) if scaler is None else {**state, "scaler": scaler}


def _latest_readable(folder: Path, device: str | torch.device) -> tuple[Path, dict[str, Any]]:
    found = checkpoints(folder)
    if not found:
        raise FileNotFoundError(f"no checkpoint (checkpoint_epoch=N.pt) in {folder}: nothing to resume; train without resume")
    for path in found.values():
        try:
            return path, load_plain(path, device)
        except ValueError as error:
            logger.warning("%s. Trying the checkpoint before it.", error)
    raise ValueError(f"none of the checkpoints in {folder} can be read: train without resume to start anew")
