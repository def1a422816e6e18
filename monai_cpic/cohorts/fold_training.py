"""Train the networks of all folds, one after the other, each as its own training would."""

from __future__ import annotations

import copy
import gc
from pathlib import Path
from typing import Any

from ignite.utils import setup_logger
from monai.bundle import ConfigParser

from monai_cpic.cohorts.out_of_fold import HELD_OUT
from monai_cpic.handlers import checkpoints
from monai_cpic.model_files import TrainingRecord, read_model
from monai_cpic.model_files.running_parser import running_parser

__all__ = ["train_folds"]

logger = setup_logger(__name__)


def train_folds(output_dir: str | Path, n_folds: int, resume: bool) -> list[Path]:
    """Run the training of each fold with the running configuration, in ``output_dir/fold<k>``.

    The network of a fold is the one that a training of its own with ``fold=<k>`` ends with.  One network is in memory at a time.
    Call this in an expression of a MONAI configuration, which holds ``initialize``, ``run`` and ``finalize`` of one training in
    ``all_folds::training``; ``run`` must end with :func:`~monai_cpic.cohorts.write_held_out`.

    Args:
        output_dir: folder of the folders.
        n_folds: number of folds.
        resume: keep the folds that have finished, and continue an interrupted one from its last checkpoint; otherwise all start
            anew.

    Returns:
        The folders of the folds.

    Raises:
        ValueError: if a fold that has finished was trained on other patients or with other settings.
        RuntimeError: if the caller is not an expression of a configuration.
    """
    config = {name: value for name, value in running_parser().get().items() if name != "all_folds"}
    steps = running_parser().get("all_folds::training")
    folders = [Path(output_dir) / f"fold{fold}" for fold in range(n_folds)]
    for fold, folder in enumerate(folders):
        own = {"fold": fold, "output_dir": str(folder), "resume": resume and bool(checkpoints(folder))}
        training = copy.deepcopy({**config, **steps, **own})  # a parser changes it
        if resume and (folder / HELD_OUT).is_file() and _finished(training, folder):
            logger.info("Fold %d of 0 to %d has finished: %s is kept.", fold, n_folds - 1, folder)
            continue
        logger.info("Fold %d of 0 to %d, in %s.", fold, n_folds - 1, folder)
        (folder / HELD_OUT).unlink(missing_ok=True)
        _run(ConfigParser(training))
        gc.collect()  # a parser and what it has built refer to each other
    return folders


def _run(training: ConfigParser) -> None:
    for step in ("initialize", "run", "finalize"):
        for number in range(len(training[step])):
            training.get_parsed_content(f"{step}::{number}")


def _finished(training: dict[str, Any], folder: Path) -> bool:
    """Whether a fold needs no further epochs; an error if it is of another training."""
    model = read_model(folder / "model.pt")
    parser = ConfigParser(copy.deepcopy(training))  # another than that of the training, which begins with its seed
    record: TrainingRecord = parser.get_parsed_content("record")
    found = record.differences(model.record)
    if found:
        lines = "\n  ".join(found)
        raise ValueError(
            f"{folder} is of another training; resume with its settings, or train without resume to start anew, which replaces "
            f"all folds there, or with another output_dir:\n  {lines}"
        )
    return bool(record.settings["max_epochs"] == model["max_epochs"])
