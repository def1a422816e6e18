"""One training of a table, in a process of its own: ``python -m monai_cpic.experiments.job JOB.json``.

JOB.json contains ``bundle_root``, ``configs``, ``overrides``, ``seconds`` and ``result``, the file to write.  The process ends
when its standard input does.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Events
from ignite.handlers import Timer
from monai.bundle import ConfigWorkflow

from monai_cpic.experiments.budget import epochs_within
from monai_cpic.staging import write_whole

__all__ = ["run_job"]


def run_job(
    bundle_root: str | Path, configs: Sequence[str], overrides: dict[str, Any], seconds: float | None = None
) -> dict[str, Any]:
    """Train and evaluate a bundle.

    Args:
        bundle_root: the bundle's folder.
        configs: names of the configurations, train.yaml first; later ones override earlier ones.
        overrides: settings that override the configurations, including ``output_dir``.
        seconds: of processor time for the training steps, from which the number of epochs follows; None: as configured.

    Returns:
        ``metrics`` as in metrics.json, ``epoch`` (seconds of training per epoch, without validation), ``prediction`` (seconds
        per patient), ``epochs``, ``processor`` (seconds of processor time of this process until now, without the trial that
        finds the number of epochs), ``memory`` (peak above the imports, GiB; of the GPU where there is one) and ``parameters``.
    """
    before = _resident("VmRSS")
    files = [str(Path(bundle_root) / "configs" / name) for name in configs]
    start = time.process_time()
    if seconds is not None:
        overrides = {**overrides, "max_epochs": epochs_within(seconds, bundle_root, files, overrides)}
    trial = time.process_time() - start
    workflow = ConfigWorkflow(files, workflow_type="train", logging_file=False, bundle_root=str(bundle_root), **overrides)
    workflow.initialize()
    parsed = workflow.parser.get_parsed_content
    trainer, evaluator = parsed("train#trainer"), parsed("validate#evaluator")
    batches = {"start": Events.STARTED, "resume": Events.GET_BATCH_STARTED, "pause": Events.ITERATION_COMPLETED}
    epoch, prediction = Timer(average=True), Timer(average=True)
    epoch.attach(trainer, step=Events.EPOCH_COMPLETED, **batches)
    prediction.attach(evaluator, step=Events.EPOCH_COMPLETED, **batches)
    workflow.run()
    workflow.finalize()
    return {
        "metrics": json.loads((Path(overrides["output_dir"]) / "metrics.json").read_text()),
        "epoch": epoch.value(),
        "prediction": prediction.value() / len(parsed("validate#data")),
        "epochs": trainer.state.epoch,
        "processor": time.process_time() - trial,
        "memory": torch.cuda.max_memory_allocated() / 2**30 if torch.cuda.is_available() else _resident("VmHWM") - before,
        "parameters": sum(parameter.numel() for parameter in parsed("network_def").parameters()),
    }


def _resident(field: str) -> float:
    """Resident memory of this process now (VmRSS) or at its peak (VmHWM), GiB; getrusage would count the parent's."""
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 2**20


def main() -> None:
    """Run the job that a file describes and write its result."""
    job = json.loads(Path(sys.argv[1]).read_text())
    found = run_job(job["bundle_root"], job["configs"], job["overrides"], job["seconds"])
    with write_whole(Path(job["result"])) as result:
        result.write_text(json.dumps({"overrides": job["overrides"], "seconds": job["seconds"], **found}, indent=2))


def _end_with_parent() -> None:
    """Wait for the end of the standard input, which comes when the process that holds the other end of the pipe is gone."""
    while os.read(0, 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    main()
