"""Command line of the experiments."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from monai_cpic.extras import extra

with extra("bundles"):
    import yaml

    from monai_cpic.experiments.printing import markdown
    from monai_cpic.experiments.runs import jobs, results, run_jobs
    from monai_cpic.experiments.tables import TABLES

EPILOG = """
A killed run continues with --resume. Several processes or machines that share --output-dir can divide the jobs: --job 0 --jobs 2
and --job 1 --jobs 2, or in a SLURM array --job $SLURM_ARRAY_TASK_ID --jobs $SLURM_ARRAY_TASK_COUNT. If the dataset does not
exist, it is simulated; simulate it before you start several processes (monai-cpic simulate osic DIR).
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run an experiment; the exit status is 1 if a training failed, else 0."""
    parser = argparse.ArgumentParser(prog="python -m monai_cpic.experiments", description=__doc__, epilog=EPILOG)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, table in TABLES.items():
        command = commands.add_parser(name, help=f"the paper's {name[:5]} {name[5:]}: {table.bundle}", epilog=EPILOG)
        command.add_argument("--dataset-dir", required=True, help="the download; simulated if it does not exist")
        command.add_argument("--output-dir", default=f"runs/{name}")
        command.add_argument("--bundle-root", default=f"bundles/{table.bundle}")
        command.add_argument("--folds", type=int, default=5, help="number of folds, by patient")
        command.add_argument("--seeds", type=int, default=1, help="number of trainings of each row and fold")
        command.add_argument("--rows", nargs="+", metavar="ROW", help=f"some of {[row.name for row in table.rows]}")
        command.add_argument("--grid", type=int, nargs=3, default=table.grid, help="the grid at native resolution")
        command.add_argument("--override", nargs="+", default=[], metavar="KEY=VALUE", help="settings of the bundle's train.yaml")
        command.add_argument("--resume", action="store_true", help="keep existing results")
        command.add_argument("--job", type=int, default=0, help="which part of the jobs to run, from 0")
        command.add_argument("--jobs", type=int, default=1, help="number of parts that the jobs are divided into")
    figure = commands.add_parser("figure1", help="a learned low-rank embedding of a picture, against its SVD")
    figure.add_argument("--output", default="figure1.png")
    figure.add_argument("--image", help="a picture; default: a photograph of matplotlib's sample data")
    figure.add_argument("--steps", type=int, default=1200)
    given = parser.parse_args(arguments)
    if given.command == "figure1":
        from monai_cpic.experiments.figure1 import draw_figure1  # the tables need no matplotlib

        print(draw_figure1(given.output, given.image, given.steps))
        return 0
    if not 0 <= given.job < given.jobs:
        parser.error(f"--job must be between 0 and {given.jobs - 1}, got {given.job}")
    table = TABLES[given.command]
    overrides = {key: yaml.safe_load(value) for key, _, value in (pair.partition("=") for pair in given.override)}
    every = jobs(table, given.output_dir, given.dataset_dir, given.folds, given.seeds, given.rows, given.grid, overrides)
    failed = run_jobs(every[given.job :: given.jobs], Path(given.bundle_root).absolute(), given.resume)
    text = markdown(table, results(every), given.grid)
    Path(given.output_dir).mkdir(parents=True, exist_ok=True)
    (Path(given.output_dir) / "table.md").write_text(text + "\n")
    print(text)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
