"""The trainings of a comparison, and what they predicted for patients who were not trained on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from monai_cpic.cohorts.csv_files import read_table
from monai_cpic.experiments.real.cohorts import RealCohort
from monai_cpic.experiments.real.methods import BASELINES
from monai_cpic.experiments.runs import Job, file_name
from monai_cpic.experiments.tables import Row

__all__ = ["FOLDS", "VALUE", "Trial", "predictions", "table_of", "trials"]

FOLDS = 5
VALUE = "value"  # the target's name in tables of all targets


@dataclass(frozen=True)
class Trial:
    """One training.

    Args:
        cohort: the cohort.
        target: what is predicted.
        method: name of the method.
        fold: which of the five folds is held out.
        seed: of the weights and batches.
        trained_on: number of training patients; 0: all.
        job: how it is run.
    """

    cohort: RealCohort
    target: str
    method: str
    fold: int
    seed: int
    trained_on: int
    job: Job


def trials(
    cohorts: Sequence[RealCohort],
    methods: Sequence[Row],
    output_dir: str | Path,
    folds: Sequence[int] = range(FOLDS),
    seeds: int = 1,
    overrides: Mapping[str, Any] | None = None,
    seconds: float | None = None,
    trained_on: Sequence[int] = (),
) -> list[Trial]:
    """All trainings, seed by seed and fold by fold, so that all methods are soon known on some patients.

    The folds do not depend on the seed.  Units of targets are those of the whole training part.

    Args:
        cohorts: the cohorts, whose tables are in ``tables`` in ``output_dir``, see :func:`table_of`.
        methods: the methods.
        output_dir: folder that will contain a folder for each training.
        folds: which of the five folds are held out, one after the other.
        seeds: number of seeds, 0 … ``seeds`` - 1.
        overrides: settings of the bundle for all trainings; those of a method take precedence.
        seconds: of processor time for the steps of a training, unless a method says how many epochs it takes; None: no limit.
        trained_on: numbers of training patients, each for trainings of its own beside those of all; numbers that a target does
            not have are left out.
    """
    output = Path(output_dir).absolute()
    return [
        Trial(
            cohort,
            target,
            method.name,
            fold,
            seed,
            number,
            _job(cohort, target, method, fold, seed, number, output, overrides or {}, seconds),
        )
        for seed in range(seeds)
        for fold in folds
        for cohort in cohorts
        for target in cohort.targets
        for number in (0, *_fewer(cohort, target, output, trained_on))
        for method in methods
    ]


def table_of(cohort: RealCohort, target: str, output_dir: Path) -> Path:
    """The file of :meth:`RealCohort.write_table`."""
    return output_dir / "tables" / file_name(cohort.name) / f"{file_name(target)}.csv"


def predictions(of: Sequence[Trial]) -> pd.DataFrame:
    """What finished trainings, and the bundle's own baselines, predicted.

    The baselines are those of the first finished training of the same patients, whose scans are not reduced.

    Returns:
        For each prediction ``cohort``, ``target``, ``method``, ``fold``, ``seed``, ``trained_on`` (0: all), ``seconds`` (of
        processor time of the training; NaN for baselines), ``patient``, ``value`` (the median) and ``value_true``.
    """
    tables, known = [], set()
    for trial in of:
        if not trial.job.result.exists():
            continue
        seconds = json.loads(trial.job.result.read_text())["processor"]
        tables.append(_told(trial, trial.method, seconds, read_table(trial.job.folder / "predictions.csv")))
        place = (trial.cohort.name, trial.target, trial.fold, trial.seed, trial.trained_on)
        if place not in known:
            known.add(place)
            others = read_table(trial.job.folder / "baselines.csv")
            tables += [_told(trial, name, float("nan"), others[others["model"] == name]) for name in BASELINES]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _told(trial: Trial, method: str, seconds: float, table: pd.DataFrame) -> pd.DataFrame:
    names = {trial.target: VALUE, f"{trial.target}_true": f"{VALUE}_true"}
    return pd.DataFrame(
        {
            "cohort": trial.cohort.name,
            "target": trial.target,
            "method": method,
            "fold": trial.fold,
            "seed": trial.seed,
            "trained_on": trial.trained_on,
            "seconds": seconds,
            **table.rename(columns=names)[["patient", VALUE, f"{VALUE}_true"]],
        }
    )


def _fewer(cohort: RealCohort, target: str, output: Path, trained_on: Sequence[int]) -> list[int]:
    """Those numbers of patients of which a target has more in every training part."""
    patients = len(read_table(table_of(cohort, target, output))) if trained_on else 0
    return [number for number in trained_on if number < patients * (FOLDS - 1) // FOLDS]


def _job(
    cohort: RealCohort,
    target: str,
    method: Row,
    fold: int,
    seed: int,
    trained_on: int,
    output: Path,
    overrides: Mapping[str, Any],
    seconds: float | None,
) -> Job:
    folder = output / file_name(cohort.name) / file_name(target) / file_name(method.name) / f"fold{fold}_seed{seed}"
    if trained_on:
        folder = folder.with_name(f"{folder.name}_trained_on_{trained_on}")
    split = f"folds(@patients, @n_folds, @fold, 0, {trained_on or None})"
    settings = {
        "table": str(table_of(cohort, target, output)),
        "image_columns": list(cohort.images),
        "target": target,
        "kind": "number",
        "output_dir": str(folder),
        "n_folds": FOLDS,
        "fold": fold,
        "seed": seed,
        "cohort::seed": 0,
        "split": f"${split}",
        "fitting": f"${split}[0]",
        "covariates_only::trainer::max_epochs": 1,  # there are no covariates
        **overrides,
        **method.overrides,
    }
    limit = None if "max_epochs" in method.overrides else seconds
    return Job(f"{cohort.name}, {target}, {method.name}", folder, method.configs, settings, limit)
