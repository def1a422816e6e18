"""Kill a training while it saves, again and again, and read what it left.

    python tests/handlers/kill_at_save.py FOLDER [--kills 50]

Each training goes on from the last checkpoint, and after each epoch, which takes no time, writes a checkpoint, the model and the
metrics.  It is killed (SIGKILL) at a random time after its first epoch.  Prints how many kills left a file that could not be read
or nothing to go on from, and how many hit the middle of a file.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import time
from pathlib import Path

import torch
from ignite.engine import Engine, Events

from monai_cpic.handlers import OutputFolder, TrainingSaver, checkpoints, resume_training
from monai_cpic.model_files import TrainingRecord, read_model, write_model
from monai_cpic.reporting.metrics_file import write_metrics

RECORD = TrainingRecord(settings={"rank": 6}, units={}, fold=0, seed=0, patients=[])
SIZE = 1500  # of a layer, whose weights are 9 MB


def train(folder: Path) -> None:
    """Train until killed."""
    OutputFolder(folder).lock()
    network = torch.nn.Linear(SIZE, SIZE)
    trainer = Engine(lambda engine, batch: None)
    state = {"network": network, "trainer": trainer}
    TrainingSaver(folder, state, RECORD).attach(trainer)

    @trainer.on(Events.EPOCH_COMPLETED)
    def _write() -> None:
        write_model(folder / "model.pt", network, RECORD)
        write_metrics(folder / "metrics.json", {"epoch": trainer.state.epoch})

    trainer.state.max_epochs = 10**6
    if checkpoints(folder):
        resume_training(trainer, state, folder, RECORD)
    trainer.run([0.0])


def unfinished(folder: Path) -> set[str]:
    """Folders of files that are being written."""
    return {name for name in os.listdir(folder) if name.startswith(".unfinished-")}


def killed_at_save(folder: Path, after: float) -> bool:
    """Start a training, kill it ``after`` seconds of saving, and say whether it was writing."""
    metrics = folder / "metrics.json"
    before = metrics.read_text() if metrics.exists() else ""
    child = os.fork()
    if not child:
        signal.alarm(60)  # whatever becomes of its parent
        try:
            train(folder)
        finally:
            os._exit(1)
    try:
        while not metrics.exists() or metrics.read_text() == before:  # until it has written all files once
            if os.waitpid(child, os.WNOHANG)[0]:
                raise SystemExit("the training ended by itself")
        time.sleep(after)
    finally:
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return bool(unfinished(folder))


def readable(folder: Path) -> bool:
    """Whether all files are whole, and there is a checkpoint to go on from."""
    try:
        epochs = [torch.load(path)["trainer"]["epoch_length"] for path in checkpoints(folder).values()]
        read_model(folder / "model.pt")
        json.loads((folder / "metrics.json").read_text())
    except Exception as error:
        print(f"{type(error).__name__}: {error}")
        return False
    return bool(epochs)


def main() -> None:
    """Kill, read, count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=50)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    chance = random.Random(0)
    hit = unreadable = 0
    for _ in range(arguments.kills):
        hit += killed_at_save(arguments.folder, chance.uniform(0, 0.1))
        unreadable += not readable(arguments.folder)
    print(json.dumps({"kills": arguments.kills, "unreadable": unreadable, "in_the_middle_of_a_file": hit}))


if __name__ == "__main__":
    main()
