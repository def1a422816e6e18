"""Continue an interrupted training."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine
from monai.handlers import CheckpointLoader

__all__ = ["latest_checkpoint", "resume_training"]


def latest_checkpoint(directory: str | Path) -> str:
    """The path of the checkpoint of the latest epoch, as :class:`monai.handlers.CheckpointSaver` writes them at its intervals.

    Raises:
        FileNotFoundError: if there is none.
    """
    numbered = [(re.search(r"epoch=(\d+)\.pt$", path.name), path) for path in Path(directory).glob("*.pt")]
    epochs = {int(found[1]): path for found, path in numbered if found}
    if not epochs:
        raise FileNotFoundError(f"no checkpoint (*epoch=N.pt) in {directory}: there is nothing to resume; train without resume")
    return str(epochs[max(epochs)])


def resume_training(trainer: Engine, state: Mapping[str, Any], directory: str | Path, device: Any = "cpu") -> None:
    """Let a trainer start from the latest checkpoint of ``directory``; its ``run`` then continues with the next epoch.

    Args:
        trainer: the trainer, which must also be a part of ``state``.
        state: the objects in the checkpoint, as passed to :class:`monai.handlers.CheckpointSaver`.
        directory: the folder in which that handler saves.
        device: the device to load tensors to, ``map_location`` of :func:`torch.load`.

    Raises:
        FileNotFoundError: if there is no checkpoint.
        ValueError: if the checkpoint's schedule of the learning rate has another length (``total_steps``).
    """
    path = latest_checkpoint(directory)
    steps = getattr(state.get("scheduler"), "total_steps", None)
    saved = torch.load(path, map_location=device).get("scheduler", {}).get("total_steps")
    if steps != saved:
        raise ValueError(
            f"{path} is the checkpoint of a training of {saved} steps, but this one has {steps}: resume it with the same "
            "max_epochs, patients and batch_size"
        )
    CheckpointLoader(path, dict(state), map_location=device).attach(trainer)
