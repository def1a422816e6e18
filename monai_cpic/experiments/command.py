"""Command line of the experiments."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from monai_cpic.extras import extra

with extra("bundles"):
    import yaml

    from monai_cpic.experiments.figure1 import draw_figure1
    from monai_cpic.experiments.printing import markdown
    from monai_cpic.experiments.real.cohorts import COHORTS
    from monai_cpic.experiments.real.methods import METHODS
    from monai_cpic.experiments.real.places import FOLDS
    from monai_cpic.experiments.runs import jobs, results, run_jobs
    from monai_cpic.experiments.tables import TABLES, Table
with extra("experiments"):
    from monai_cpic.experiments.engine import started_engine
    from monai_cpic.experiments.real.comparison import compare_methods
    from monai_cpic.experiments.real.radiomics import RADIOMICS

__all__ = ["main"]

EPILOG = """
A killed run continues with --resume. On a cluster, start a scheduler (dask scheduler) and workers that see the same disk
(dask worker ADDRESS --nthreads 1), and give its address by --scheduler.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run an experiment; the exit status is 1 if a training failed, else 0."""
    parser = argparse.ArgumentParser(prog="python -m monai_cpic.experiments", description=__doc__, epilog=EPILOG)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, table in TABLES.items():
        command = commands.add_parser(name, help=f"the paper's {name[:5]} {name[5:]}: {table.bundle}", epilog=EPILOG)
        command.add_argument("--dataset-dir", required=True, help="the download; simulated if it does not exist")
        command.add_argument("--folds", type=int, default=5, help="number of folds, by patient")
        command.add_argument("--rows", nargs="+", metavar="ROW", help=f"some of {[row.name for row in table.rows]}")
        command.add_argument("--grid", type=int, nargs=3, default=table.grid, help="the grid at native resolution")
        _add_trainings(command, name, table.bundle)
        command.set_defaults(run=partial(_run_table, table))
    real = commands.add_parser("real", help="methods compared on cohorts of real scans: volume_regression", epilog=EPILOG)
    cohorts, methods = [cohort.name for cohort in COHORTS], [*(method.name for method in METHODS), RADIOMICS]
    real.add_argument("--data-dir", required=True, help=f"the folder that holds {', '.join(cohort.folder for cohort in COHORTS)}")
    real.add_argument("--cohorts", nargs="+", choices=cohorts, default=cohorts)
    real.add_argument("--methods", nargs="+", choices=methods, default=methods)
    real.add_argument("--folds", nargs="+", type=int, choices=range(FOLDS), default=range(FOLDS), help="of the five, by patient")
    real.add_argument("--patients", type=int, help="the first so many of each target; default: all")
    real.add_argument("--seconds", type=float, help="of processor time for the steps of a training; default: as configured")
    real.add_argument(
        "--trained-on", nargs="+", type=_positive, default=[], metavar="N", help="also on so many training patients"
    )
    _add_trainings(real, "real", "volume_regression")
    real.set_defaults(run=_run_real)
    figure = commands.add_parser("figure1", help="a learned low-rank embedding of a picture, against its SVD")
    figure.add_argument("--output", default="figure1.png")
    figure.add_argument("--image", help="a picture; default: a photograph of matplotlib's sample data")
    figure.add_argument("--steps", type=int, default=1200)
    figure.set_defaults(run=_run_figure1)
    given = parser.parse_args(arguments)
    return int(given.run(given))


def _add_trainings(command: argparse.ArgumentParser, name: str, bundle: str) -> None:
    """Arguments of all experiments that train."""
    command.add_argument("--output-dir", default=f"runs/{name}")
    command.add_argument("--bundle-root", default=f"bundles/{bundle}", type=lambda folder: Path(folder).absolute())
    command.add_argument("--seeds", type=int, default=1, help="number of trainings of each row and fold")
    command.add_argument("--override", nargs="+", default=[], metavar="KEY=VALUE", help="settings of the bundle's train.yaml")
    command.add_argument("--resume", action="store_true", help="keep existing results")
    command.add_argument("--scheduler", metavar="ADDRESS", help="of dask, whose workers train; default: this machine")
    command.add_argument("--processes", type=int, help="of this machine; default: one for each processor")


def _positive(text: str) -> int:
    """A number of patients."""
    if (number := int(text)) < 1:
        raise ValueError
    return number


def _overrides(given: argparse.Namespace) -> dict[str, Any]:
    return {key: yaml.safe_load(value) for key, _, value in (pair.partition("=") for pair in given.override)}


def _run_table(table: Table, given: argparse.Namespace) -> int:
    settings = _overrides(given)
    every = jobs(table, given.output_dir, given.dataset_dir, given.folds, given.seeds, given.rows, given.grid, settings)
    with started_engine(given.scheduler, given.processes) as executor:
        failed = run_jobs(every, given.bundle_root, executor, given.resume)
    text = markdown(table, results(every), given.grid)
    Path(given.output_dir).mkdir(parents=True, exist_ok=True)
    (Path(given.output_dir) / "table.md").write_text(text + "\n")
    print(text)
    return bool(failed)


def _run_real(given: argparse.Namespace) -> int:
    overrides = _overrides(given)
    if given.seconds is not None and "max_epochs" in overrides:
        raise ValueError("the number of epochs follows from --seconds: leave out one of --seconds and --override max_epochs")
    with started_engine(given.scheduler, given.processes) as executor:
        text, failed = compare_methods(
            given.data_dir,
            given.output_dir,
            given.bundle_root,
            executor,
            [cohort for cohort in COHORTS if cohort.name in given.cohorts],
            [method for method in METHODS if method.name in given.methods],
            given.folds,
            radiomics=RADIOMICS in given.methods,
            seeds=given.seeds,
            patients=given.patients,
            overrides=overrides,
            seconds=given.seconds,
            trained_on=sorted(set(given.trained_on)),
            resume=given.resume,
        )
    print(text)
    return bool(failed)


def _run_figure1(given: argparse.Namespace) -> int:
    print(draw_figure1(given.output, given.image, given.steps))
    return 0
