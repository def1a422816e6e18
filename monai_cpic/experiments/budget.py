"""How many epochs fit into some processor time."""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ignite.engine import Events
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
    parsed = trial.parser.get_parsed_content
    trainer, loader = parsed("train#trainer"), parsed("train#dataloader")
    times: list[float] = []  # of the beginning and the end of each epoch
    trainer.add_event_handler(Events.EPOCH_STARTED | Events.EPOCH_COMPLETED, lambda: times.append(time.process_time()))
    trainer.run()
    trial.finalize()
    timed = min(len(loader.dataset), len(loader) * parsed("batch_size"))  # a last batch may be smaller, or left out
    return len(parsed("tuned")[0]), (times[3] - times[2]) / timed, (times[5] - times[4]) / timed
