"""The trainings of a comparison, and what they predicted for patients who were not trained on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from monai_cpic.cohorts.csv_files import read_table
from monai_cpic.experiments.real.methods import BASELINES
from monai_cpic.experiments.real.places import FOLDS, Place, table_of
from monai_cpic.experiments.runs import Job, file_name
from monai_cpic.experiments.tables import Row

__all__ = ["Trial", "predictions", "trials"]


@dataclass(frozen=True)
class Trial:
    """One training.

    Args:
        place: which patients it is trained on, and for what.
        method: name of the method.
        job: how it is run.
    """

    place: Place
    method: str
    job: Job


def trials(
    at: Sequence[Place],
    methods: Sequence[Row],
    output_dir: str | Path,
    overrides: Mapping[str, Any] | None = None,
    seconds: float | None = None,
) -> list[Trial]:
    """All trainings, all methods of each place.

    The folds do not depend on the seed.  Units of targets are those of the whole training part.

    Args:
        at: the places.
        methods: the methods.
        output_dir: folder that will contain a folder for each training.
        overrides: settings of the bundle for all trainings; those of a method take precedence.
        seconds: of processor time for the steps of a training, unless a method says how many epochs it takes; None: no limit.
    """
    output = Path(output_dir).absolute()
    return [
        Trial(place, method.name, _job(place, method, output, overrides or {}, seconds)) for place in at for method in methods
    ]


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
        tables.append(trial.place.rows(trial.method, seconds, read_table(trial.job.folder / "predictions.csv")))
        if (place := tuple(trial.place.names.values())) not in known:
            known.add(place)
            others = read_table(trial.job.folder / "baselines.csv")
            tables += [trial.place.rows(name, float("nan"), others[others["model"] == name]) for name in BASELINES]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _job(place: Place, method: Row, output: Path, overrides: Mapping[str, Any], seconds: float | None) -> Job:
    cohort, target = place.cohort, place.target
    name = f"fold{place.fold}_seed{place.seed}" + (f"_trained_on_{place.trained_on}" if place.trained_on else "")
    folder = output / file_name(cohort.name) / file_name(target) / file_name(method.name) / name
    split = f"folds(@patients, @n_folds, @fold, 0, {place.trained_on or None})"
    settings = {
        "table": str(table_of(cohort, target, output)),
        "image_columns": list(cohort.images),
        "target": target,
        "kind": "number",
        "output_dir": str(folder),
        "n_folds": FOLDS,
        "fold": place.fold,
        "seed": place.seed,
        "cohort::seed": 0,
        "split": f"${split}",
        "fitting": f"${split}[0]",
        "covariates_only::trainer::max_epochs": 1,  # there are no covariates
        **overrides,
        **method.overrides,
    }
    limit = None if "max_epochs" in method.overrides else seconds
    return Job(f"{cohort.name}, {target}, {method.name}", folder, method.configs, settings, limit)
