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
    """The checkpoint of the latest epoch that :class:`monai.handlers.CheckpointSaver` wrote at its intervals.

    Raises:
        FileNotFoundError: if there is none.
    """
    numbered = [(re.search(r"epoch=(\d+)\.pt$", path.name), path) for path in Path(directory).glob("*.pt")]
    epochs = {int(found[1]): path for found, path in numbered if found}
    if not epochs:
        raise FileNotFoundError(f"no checkpoint (*epoch=N.pt) in {directory}: there is nothing to resume; train without resume")
    return str(epochs[max(epochs)])


def resume_training(trainer: Engine, state: Mapping[str, Any], directory: str | Path, device: Any = "cpu") -> None:
    """Let a trainer start from the latest checkpoint of ``directory``; its ``run`` then goes on with the next epoch.

    Args:
        trainer: the trainer, itself a part of ``state``.
        state: the objects that the checkpoint holds, as given to :class:`monai.handlers.CheckpointSaver`.
        directory: where that handler saves.
        device: where tensors are loaded to, as ``map_location`` of :func:`torch.load`.

    Raises:
        FileNotFoundError: if there is no checkpoint.
        ValueError: if its learning rate follows a schedule of another length (``total_steps``).
    """
    path = latest_checkpoint(directory)
    steps = getattr(state.get("scheduler"), "total_steps", None)
    saved = torch.load(path, map_location=device).get("scheduler", {}).get("total_steps")
    if steps != saved:
        raise ValueError(
            f"{path} is of a training of {saved} steps, this one has {steps}: resume it with the max_epochs, patients and "
            "batch_size that it began with"
        )
    CheckpointLoader(path, dict(state), map_location=device).attach(trainer)
