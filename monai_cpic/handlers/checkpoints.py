"""Which checkpoint to resume from."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["latest_checkpoint"]


def latest_checkpoint(directory: str | Path) -> str:
    """The checkpoint of the latest epoch that :class:`monai.handlers.CheckpointSaver` wrote at its intervals.

    Raises:
        FileNotFoundError: if there is none.
    """
    epochs = {int(found[1]): path for path in Path(directory).glob("*.pt") if (found := re.search(r"epoch=(\d+)\.pt$", path.name))}
    if not epochs:
        raise FileNotFoundError(f"no checkpoint (*epoch=N.pt) in {directory}: there is nothing to resume; train without resume")
    return str(epochs[max(epochs)])
