"""Running jobs, each in a process of its own; each finished job has a file, so that a killed run can resume."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from monai_cpic.experiments.tables import Row, Table
from monai_cpic.staging import remove_unfinished

__all__ = ["Job", "file_name", "jobs", "results", "run_alone", "run_jobs"]


@dataclass(frozen=True)
class Job:
    """One training: a row of the table, a fold and a seed.

    Args:
        row: name of the row.
        folder: folder of its files; ``result.json`` exists once the job has finished, ``log.txt`` contains its output.
        configs: names of the bundle's configurations; later ones override earlier ones.
        overrides: settings that override the configurations.
        seconds: of processor time for the training steps; None: as many epochs as configured.
    """

    row: str
    folder: Path
    configs: Sequence[str]
    overrides: dict[str, Any]
    seconds: float | None = None

    @property
    def result(self) -> Path:
        """The file of its result."""
        return self.folder / "result.json"


def jobs(
    table: Table,
    output_dir: str | Path,
    dataset_dir: str | Path,
    folds: int,
    seeds: int,
    rows: Sequence[str] | None = None,
    grid: Sequence[int] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> list[Job]:
    """The jobs of a table, seed by seed and fold by fold, all rows of each.

    Args:
        table: the table.
        output_dir: folder that will contain a folder for each job.
        dataset_dir: folder of the download, or in which a cohort is simulated.
        folds: number of folds by patient; all of them are run.
        seeds: number of seeds of the weights and batches, 0 … ``seeds`` - 1.
        rows: names of rows; default: all.
        grid: the grid at native resolution; default: the paper's.
        overrides: settings of the bundle for all rows; those of a row take precedence.

    Raises:
        ValueError: if the table does not have one of the rows.
    """
    known = {row.name: row for row in table.rows}
    unknown = [name for name in rows or [] if name not in known]
    if unknown:
        raise ValueError(f"no row {unknown[0]!r} in this table, it has {list(known)}")
    chosen = [known[name] for name in rows] if rows else list(table.rows)
    made = []
    for seed in range(seeds):
        for fold in range(folds):
            for row in chosen:
                folder = Path(output_dir).absolute() / file_name(row.name) / f"fold{fold}_seed{seed}"
                settings = _overrides(table, row, folder, dataset_dir, folds, fold, seed, grid, overrides)
                made.append(Job(row.name, folder, row.configs, settings))
    return made


def run_jobs(todo: Sequence[Job], bundle_root: str | Path, executor: Executor, resume: bool = False) -> list[Job]:
    """Run jobs.

    Args:
        todo: the jobs.
        bundle_root: folder of their bundle.
        executor: what runs them, in the order given (:func:`~monai_cpic.experiments.engine.started_engine`).
        resume: skip jobs that have finished.

    Returns:
        The jobs that failed; ``log.txt`` in the folder of each contains the reason.

    Raises:
        FileExistsError: if a job has a result already and ``resume`` is false, or a result of other settings.
    """
    for job in todo:
        remove_unfinished(job.folder)
        if job.result.exists():
            if not resume:
                raise FileExistsError(f"{job.result} exists: add --resume to keep it, or choose another --output-dir")
            known = json.loads(job.result.read_text())
            if [known["overrides"], known.get("seconds")] != json.loads(json.dumps([job.overrides, job.seconds])):
                raise FileExistsError(f"{job.result} is the result of other settings: choose another --output-dir")
    running = {executor.submit(run_alone, job, str(bundle_root)): job for job in todo if not job.result.exists()}
    failed = []
    for ended in tqdm(as_completed(running), "trainings", len(running)):
        job, status = running[ended], ended.result()
        if status:
            log = job.folder / "log.txt"
            tqdm.write(f"{job.row}: failed with {status} (-9: killed, often for lack of memory), see {log}")
            failed.append(job)
    return failed


def run_alone(job: Job, bundle_root: str) -> int:
    """Run a job in a process of its own, and return its exit status.

    The process ends with this one, in whatever way this one ends: it waits for the end of its standard input, a pipe that nobody
    writes to, which the system closes.
    """
    job.folder.mkdir(parents=True, exist_ok=True)
    description = {
        "bundle_root": bundle_root,
        "configs": job.configs,
        "overrides": job.overrides,
        "seconds": job.seconds,
        "result": str(job.result),
    }
    (job.folder / "job.json").write_text(json.dumps(description, indent=2))
    command = [sys.executable, "-m", "monai_cpic.experiments.job", str(job.folder / "job.json")]
    with (
        (job.folder / "log.txt").open("w") as log,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT) as process,
    ):
        return process.wait()


def results(of: Sequence[Job]) -> dict[str, list[dict[str, Any]]]:
    """The results of the finished jobs, by row, in the order of the jobs."""
    found: dict[str, list[dict[str, Any]]] = {}
    for job in of:
        if job.result.exists():
            found.setdefault(job.row, []).append(json.loads(job.result.read_text()))
    return found


def _overrides(
    table: Table,
    row: Row,
    folder: Path,
    dataset_dir: str | Path,
    folds: int,
    fold: int,
    seed: int,
    grid: Sequence[int] | None,
    overrides: Mapping[str, Any] | None,
) -> dict[str, Any]:
    sizes = [size * (2 if row.doubled else 1) for size in grid or table.grid]
    return {
        "dataset_dir": str(Path(dataset_dir).absolute()),
        "output_dir": str(folder),
        "n_folds": folds,
        "fold": fold,
        "seed": seed,
        "spatial_shape": sizes,
        **(overrides or {}),
        **row.overrides,
        **(table.doubling if row.doubled else {}),
    }


def file_name(name: str) -> str:
    """A name as that of a folder: lower case, without spaces and signs."""
    return re.sub(r"[^a-z0-9.]+", "_", name.lower()).strip("_")
