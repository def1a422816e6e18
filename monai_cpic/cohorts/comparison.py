"""Models compared on the same patients: scores and differences, with intervals by patient."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor

from monai_cpic.cohorts.base import Cohort
from monai_cpic.cohorts.bootstrap import CONFIDENCE, Estimate, bootstrap_by_patient
from monai_cpic.reporting.metrics_file import model_key
from monai_cpic.reporting.report import cell_text

__all__ = ["Comparison", "compare", "scores_by_group"]

Estimates = Mapping[str, Estimate]


@dataclass(frozen=True)
class Comparison:
    """The scores of models on the same patients, and one model's differences to the others.

    Args:
        model: name of the model that is compared with the others, the baselines.
        key_score: the score that decides which baseline is best.
        higher_is_better: whether a higher value of the key score is better.
        patients: number of patients.
        tables: the table of predictions of each model, by its name.
        scores: the scores of each model.
        differences: for each baseline the scores of ``model`` minus those of the baseline.
    """

    model: str
    key_score: str
    higher_is_better: bool
    patients: int
    tables: Mapping[str, pd.DataFrame]
    scores: Mapping[str, Estimates]
    differences: Mapping[str, Estimates]

    @property
    def best_baseline(self) -> str | None:
        """The baseline with the best key score on these patients; None if the score is not defined."""
        known = {name: self.scores[name][self.key_score].value for name in self.differences}
        known = {name: value if self.higher_is_better else -value for name, value in known.items() if math.isfinite(value)}
        return max(known, key=lambda name: known[name]) if known else None

    def metrics(self) -> dict[str, Any]:
        """For metrics.json: the scores of each model, and the difference to the best baseline; keys by
        :func:`~monai_cpic.reporting.metrics_file.model_key`."""
        best = self.best_baseline
        return {
            **{model_key(name): _flat(scores) for name, scores in self.scores.items()},
            f"{model_key(self.model)}_minus_best_baseline": {
                "best_baseline": None if best is None else model_key(best),
                **({} if best is None else _flat(self.differences[best])),
            },
        }

    def rows(self) -> list[dict[str, str]]:
        """For the report: a row for each model, with the text of each score and its interval."""
        return [
            {"model": name, **{score: _text(estimate) for score, estimate in scores.items()}}
            for name, scores in self.scores.items()
        ]

    def sentence(self) -> str:
        """By how much the model is better or worse than the best baseline.

        The best baseline is the best on these same patients, which favours the baselines.
        """
        best = self.best_baseline
        if best is None:
            return f"{self.model} cannot be compared: {self.key_score} is not defined for these {self.patients} patients."
        difference = self.differences[best][self.key_score]
        ends = difference.interval if self.higher_is_better else difference.interval[::-1]
        between = " to ".join(self._verdict(end) for end in ends)
        interval = f"{100 * CONFIDENCE:.0f} % interval {between}" if math.isfinite(difference.low) else "no interval"
        patients = "1 patient" if self.patients == 1 else f"{self.patients} patients"
        return (
            f"{self.key_score}: {self.model} is {self._verdict(difference.value)} than the best baseline, {best} "
            f"({interval}; {patients})."
        )

    def _verdict(self, difference: float) -> str:
        return f"{cell_text(abs(difference))} {'better' if (difference > 0) == self.higher_is_better else 'worse'}"


def compare(
    cohort: Cohort, patients: Sequence[Mapping[str, Any]], outputs: Mapping[str, Sequence[Tensor]], model: str
) -> Comparison:
    """Score models, and compare one of them with the others.

    Args:
        cohort: the cohort.
        patients: the patients, whose true values are known; items of one patient follow each other.
        outputs: for each model, by its name, the predictions of each patient, as for :meth:`~monai_cpic.cohorts.Cohort.table`.
        model: the one to compare with the others.

    Raises:
        ValueError: when the table of a model has not one row for each row of its predictions, or the names of two models have
            the same key in metrics.json.
    """
    if len({model_key(name) for name in outputs}) < len(outputs):
        raise ValueError(f"two of these names of models have the same key in metrics.json: {', '.join(outputs)}.")
    tables = {name: cohort.table(patients, given) for name, given in outputs.items()}
    of_patients = groupby(zip(patients, outputs[model], strict=True), key=lambda pair: pair[0]["patient"])
    rows = [sum(len(given) for _, given in own) for _, own in of_patients]
    for name, table in tables.items():
        if len(table) != sum(rows):
            raise ValueError(f"the table of {name} must have {sum(rows)} rows, one for each prediction, got {len(table)}.")
    names = list(tables)
    others = [name for name in names if name != model]
    scores = list(cohort.scores(tables[model]))

    def statistics(chosen: NDArray[np.int64]) -> NDArray[np.float64]:
        values = np.array([list(cohort.scores(table.iloc[chosen]).values()) for table in tables.values()])
        differences = values[names.index(model)] - values[[names.index(other) for other in others]]
        return np.concatenate([values, differences]).ravel()

    estimates = iter(bootstrap_by_patient(statistics, rows))
    named = [{score: next(estimates) for score in scores} for _ in names + others]
    return Comparison(
        model=model,
        key_score=next(iter(cohort.key_metric())),
        higher_is_better=cohort.higher_is_better,
        patients=len(rows),
        tables=tables,
        scores=dict(zip(names, named[: len(names)], strict=True)),
        differences=dict(zip(others, named[len(names) :], strict=True)),
    )


def scores_by_group(cohort: Cohort, table: pd.DataFrame, groups: pd.DataFrame) -> list[dict[str, Any]]:
    """For the report: the number of rows of a table and the scores, for each group that has rows.

    Args:
        cohort: the cohort.
        table: predictions of one model.
        groups: the groups of each row, :meth:`~monai_cpic.cohorts.Cohort.groups`.
    """
    rows = []
    for division, of_rows in groups.items():
        for group, own in table.groupby(of_rows.array, observed=True):
            rows.append({"group": f"{division}: {group}", cohort.rows: len(own), **cohort.scores(own)})
    return rows


def _flat(scores: Estimates) -> dict[str, Any]:
    """Each score, and behind it its interval."""
    flat: dict[str, Any] = {}
    for name, estimate in scores.items():
        flat |= {name: estimate.value, f"{name}_interval": estimate.interval}
    return flat


def _text(estimate: Estimate) -> str:
    value, low, high = (cell_text(number) for number in (estimate.value, estimate.low, estimate.high))
    return value if math.isnan(estimate.low) else f"{value} ({low} to {high})"
