"""Scores of methods on the patients that were not trained on, with intervals by patient and differences to one of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from monai_cpic.cohorts.bootstrap import Estimate, bootstrap_by_patient
from monai_cpic.cohorts.table.targets.number import correlation, determination
from monai_cpic.experiments.real.cohorts import RealCohort
from monai_cpic.experiments.real.methods import OURS
from monai_cpic.experiments.real.places import VALUE

__all__ = ["Score", "scores"]

Array = NDArray[np.float64]
Rows = NDArray[np.int64]

SCORES: Mapping[str, Callable[[Array, Array], float]] = {"r": correlation, "r2": determination}
PLACE = ["target", "fold", "seed", "trained_on", "patient"]  # of a prediction


@dataclass(frozen=True)
class Score:
    """One line of the table.

    Args:
        cohort: the cohort.
        target: what is predicted; of several targets, their mean.
        method: the method.
        trained_on: number of training patients; 0: all.
        patients: number of patients that both the method and ours predicted.
        pooled: the score of all their out-of-fold predictions together; the mean over targets and seeds.
        folds: the score of each training's held-out patients, ``[K]``; the mean over targets.
        difference: ``pooled`` minus that of ours, on the same patients; None for ours, or if ours has not predicted any.
        seconds: of processor time of a training, mean; NaN for baselines.
    """

    cohort: RealCohort
    target: str
    method: str
    trained_on: int
    patients: int
    pooled: Estimate
    folds: Array
    difference: Estimate | None
    seconds: float


def scores(found: pd.DataFrame, cohorts: Sequence[RealCohort]) -> list[Score]:
    """The scores of all cohorts, targets and methods, and of several targets of a cohort also their mean.

    Args:
        found: of :func:`~monai_cpic.experiments.real.trials.predictions`.
        cohorts: the cohorts.
    """
    lines = []
    for cohort in cohorts:
        own = found[found["cohort"] == cohort.name] if len(found) else found
        if own.empty:
            continue
        of_targets = dict(iter(own.groupby("target", sort=False)))
        if len(of_targets) > 1:
            of_targets[f"mean of {len(of_targets)}"] = own
        for target, every in of_targets.items():
            for trained_on, table in every.groupby("trained_on"):
                if target not in table["target"].to_numpy() and table["target"].nunique() < own["target"].nunique():
                    continue  # the mean of others than its name says
                methods = dict(iter(table.groupby("method", sort=False)))
                lines += [_score(cohort, target, name, trained_on, part, methods.get(OURS)) for name, part in methods.items()]
    return lines


def _score(cohort: RealCohort, target: str, method: str, trained_on: int, own: pd.DataFrame, ours: pd.DataFrame | None) -> Score:
    folds = np.array([_mean_score(cohort, part)(np.arange(len(part))) for _, part in own.groupby(["fold", "seed"])])
    seconds = float(own.drop_duplicates(["target", "fold", "seed"])["seconds"].mean())
    both = own.iloc[:0] if ours is None or method == OURS else own.merge(ours, on=PLACE, suffixes=("", "_ours"))
    compared = not both.empty
    table = (both if compared else own).sort_values("patient")
    score_of_this = _mean_score(cohort, table)
    score_of_ours = _mean_score(cohort, table, f"{VALUE}_ours") if compared else None

    def statistics(rows: Rows) -> list[float]:
        score = score_of_this(rows)
        return [score] if score_of_ours is None else [score, score - score_of_ours(rows)]

    rows = table.groupby("patient").size().tolist()
    pooled, *difference = bootstrap_by_patient(statistics, rows)
    return Score(cohort, target, method, trained_on, len(rows), pooled, folds, difference[0] if compared else None, seconds)


def _mean_score(cohort: RealCohort, table: pd.DataFrame, predicted: str = VALUE) -> Callable[[Rows], float]:
    """The mean over targets and seeds of the score of some rows, given by their numbers; rows may repeat."""
    score, values, true = SCORES[cohort.score], table[predicted].to_numpy(), table[f"{VALUE}_true"].to_numpy()
    group = table.groupby(["target", "seed"]).ngroup().to_numpy()

    def of_rows(rows: Rows) -> float:
        parts = [rows[group[rows] == number] for number in np.unique(group[rows])]
        return float(np.mean([score(values[part], true[part]) for part in parts]))

    return of_rows
