"""How many epochs fit into some processor time."""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events
from monai.bundle import ConfigParser, ConfigWorkflow

__all__ = ["epochs_within"]

BATCHES = 3  # of an epoch that is timed


def epochs_within(seconds: float, bundle_root: str | Path, files: Sequence[str], overrides: Mapping[str, Any]) -> int:
    """The number of epochs of a training, at least one, that take some processor time, reading included.

    Three epochs of a few batches are trained for it and forgotten.  The first one is not timed, since it reads what later ones
    find in the cache; of a curriculum, the second is of its first decomposition and the third of the other.

    Args:
        seconds: of processor time of this process.
        bundle_root: folder of the bundle.
        files: its configurations.
        overrides: settings that override them.
    """
    first = {**ConfigParser.load_config_files(files), **overrides}["cells_alone"]
    with tempfile.TemporaryDirectory() as folder:
        scans, cells, cross = _seconds_per_scan(folder, bundle_root, files, overrides)
    gc.collect()  # engine, network and handlers refer to each other
    return max(1, round(seconds / (scans * (first * cells + (1 - first) * cross))))


def _seconds_per_scan(
    folder: str, bundle_root: str | Path, files: Sequence[str], overrides: Mapping[str, Any]
) -> tuple[int, float, float]:
    """The number of scans of an epoch, and the time that each takes with the first decomposition and with the second."""
    few = {
        "output_dir": folder,
        "max_epochs": 3,
        "val_interval": 4,
        "cells_alone": 2 / 3,
        "train::data": f"$@tuned[0][: {BATCHES} * @batch_size]",
        "resume": False,
        "tensorboard": False,
        "mlflow": None,
    }
    settings = {**overrides, **few}
    trial = ConfigWorkflow(files, workflow_type="train", logging_file=False, bundle_root=str(bundle_root), **settings)
    trial.initialize()
    trainer = trial.parser.get_parsed_content("train#trainer")
    spent, seen = {1: 0.0, 2: 0.0, 3: 0.0}, {1: 0, 2: 0, 3: 0}

    def begin(engine: Engine) -> None:
        spent[engine.state.epoch] -= time.process_time()

    def end(engine: Engine) -> None:
        spent[engine.state.epoch] += time.process_time()

    def count(engine: Engine) -> None:
        seen[engine.state.epoch] += len(engine.state.batch["image"])  # type: ignore[index]  # a dict of lists

    trainer.add_event_handler(Events.EPOCH_STARTED, begin)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, count)
    trainer.add_event_handler(Events.EPOCH_COMPLETED, end)
    trainer.run()
    trial.finalize()
    return len(trial.parser.get_parsed_content("tuned")[0]), spent[2] / seen[2], spent[3] / seen[3]
