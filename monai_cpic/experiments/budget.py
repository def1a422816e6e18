"""How many epochs fit into some processor time."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ignite.engine import Events
from monai.bundle import ConfigWorkflow

__all__ = ["epochs_within"]

STEPS = 3  # of an epoch that is timed


def epochs_within(seconds: float, bundle_root: str | Path, files: Sequence[str], overrides: Mapping[str, Any]) -> int:
    """The number of epochs of a training, at least one, that take some processor time, reading included.

    Three epochs of some batches are trained for it and forgotten.  The first one is not timed, since it reads what later ones
    find in the cache; with the third, a curriculum has gone on to its second decomposition.

    Args:
        seconds: of processor time of this process.
        bundle_root: folder of the bundle.
        files: its configurations.
        overrides: settings that override them.
    """
    with tempfile.TemporaryDirectory() as folder:
        few = {"output_dir": folder, "max_epochs": 3, "val_interval": 4, "train::data": f"$@tuned[0][: {STEPS} * @batch_size]"}
        settings = {**overrides, **few}
        trial = ConfigWorkflow(files, workflow_type="train", logging_file=False, bundle_root=str(bundle_root), **settings)
        trial.initialize()
        parsed = trial.parser.get_parsed_content
        trainer = parsed("train#trainer")
        times: dict[int, list[float]] = {}

        def note() -> None:
            times.setdefault(trainer.state.epoch, []).append(time.process_time())

        trainer.add_event_handler(Events.EPOCH_STARTED | Events.ITERATION_COMPLETED, note)
        trainer.run()
        trial.finalize()
        steps, first = len(parsed("tuned")[0]) / parsed("batch_size"), parsed("cells_alone")
    _, cells, cross = ((noted[-1] - noted[0]) / (len(noted) - 1) for noted in times.values())
    return max(1, round(seconds / (steps * (first * cells + (1 - first) * cross))))
