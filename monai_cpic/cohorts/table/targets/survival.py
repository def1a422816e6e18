"""Targets that are times until an event, some of them censored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from ignite.metrics import EpochMetric, Metric
from monai.handlers import from_engine
from numpy.typing import NDArray
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from statsmodels.duration.survfunc import SurvfuncRight
from torch import Tensor

from monai_cpic.cohorts.base import Explained
from monai_cpic.cohorts.baselines import Baseline
from monai_cpic.cohorts.baselines.cox import CoxRegression
from monai_cpic.cohorts.intervals import OffsetIntervals
from monai_cpic.cohorts.table.baselines import Constant, Regression
from monai_cpic.cohorts.table.descriptions import Describe
from monai_cpic.cohorts.table.figures import survival_by_risk
from monai_cpic.cohorts.table.lines import numbers
from monai_cpic.cohorts.table.targets.base import Array, Target
from monai_cpic.cohorts.tables import Problems
from monai_cpic.metrics import concordance_index, integrated_brier_score
from monai_cpic.networks.families.hazards import survival_curve
from monai_cpic.reporting.report import Report

__all__ = ["Survival"]

MOST_INTERVALS = 10
EVENTS_PER_INTERVAL = 3
PENALTIES = (0.1, 1.0, 10.0, 100.0, 1000.0)
COVERAGE = 0.6  # of the intervals
HAPPENED = {"1": 1.0, "1.0": 1.0, "true": 1.0, "0": 0.0, "0.0": 0.0, "false": 0.0}


@dataclass(frozen=True)
class Survival(Target):
    """A time, and whether it ended with the event; the probability of surviving is predicted at the end of several intervals.

    The table has under the name of the time the expected time until the end of the last interval (restricted mean), the
    probability of surviving each interval (``S(<end>)``), ``<time>_true`` and ``<event>_true``.

    Args:
        columns: the names of the columns of the time and of the event.
        ends: of the intervals: evenly spaced quantiles of the times of the training patients' events.
    """

    ends: tuple[float, ...] = (1.0,)

    kind: ClassVar[str] = "survival"
    family: ClassVar[str] = "monai_cpic.networks.HazardFamily"
    higher_is_better: ClassVar[bool] = True
    scores_caption: ClassVar[str] = (
        "Concordance index, and the Brier score of the predicted survival, integrated over the time and weighted for censoring "
        "(lower is better)."
    )

    @classmethod
    def suits(cls, columns: Sequence[pd.Series]) -> bool:
        return len(columns) == 2

    @classmethod
    def of(cls, lines: pd.DataFrame, columns: Sequence[str], problems: Problems) -> Survival:
        if len(columns) != 2:
            raise ValueError(f"{problems.path}: a survival has a time and an event: name the column of the event (event).")
        target = cls(tuple(columns))
        values = target.values(lines, problems)
        time, event = values.T
        if not problems.found and (not event.any() or np.ptp(time) == 0):
            what = "no event has happened" if not event.any() else f"all times are {time[0]:g}"
            raise ValueError(f"{problems.path}: {what} ({', '.join(columns)}): there is nothing to learn.")
        return target

    def values(self, lines: pd.DataFrame, problems: Problems) -> Array:
        time, event = (lines[column] for column in self.columns)
        times = numbers(time, problems)
        problems.add(times < 0, self.columns[0], "expected a time that is not negative")
        happened = event.str.lower().map(HAPPENED)
        problems.add((event != "") & happened.isna(), self.columns[1], "expected 1 or 0, true or false")
        return np.column_stack([times, happened]).astype(float)

    def fitted(self, values: Array) -> Survival:
        times = values[values[:, 1] > 0, 0]
        if not len(times):
            raise ValueError("none of the training patients had the event: there is nothing to learn; use fewer folds (n_folds)")
        count = int(np.clip(len(times) // EVENTS_PER_INTERVAL, 2, MOST_INTERVALS))
        ends = np.unique(np.quantile(times, np.arange(1, count + 1) / count).astype(np.float32))  # as labels are
        return replace(self, ends=tuple(ends[ends > 0].tolist()))

    @property
    def intervals(self) -> OffsetIntervals:
        return OffsetIntervals(COVERAGE, _possible_times, 0.0, lambda output: torch.from_numpy(self._expected(output.numpy())))

    @property
    def outputs(self) -> list[Any]:
        return list(self.ends)

    def strata(self, values: Array) -> NDArray[np.int64]:
        return (values[:, 1] > 0).astype(int)

    def labels(self, values: Array) -> Array:
        return values

    def in_units(self, outputs: Tensor) -> Tensor:
        return survival_curve(outputs)

    def key_metric(self) -> dict[str, Metric]:
        def compute(survival: Tensor, label: Tensor) -> float:
            time, event = label.double().unbind(1)
            return concordance_index(torch.from_numpy(self._expected(survival.double().numpy())), time, event > 0)

        return {"c_index": EpochMetric(compute, from_engine(["pred", "label"]), check_compute_fn=False)}

    def table(self, predictions: Array, values: Array) -> pd.DataFrame:
        time, event = self.columns
        return pd.DataFrame(
            {
                time: self._expected(predictions),
                **{f"S({end:g})": predictions[:, number] for number, end in enumerate(self.ends)},
                f"{time}_true": values[:, 0],
                f"{event}_true": values[:, 1],
            }
        )

    def scores(self, table: pd.DataFrame) -> dict[str, float]:
        true, happened = (table[f"{name}_true"].to_numpy(float) for name in self.columns)
        known = np.isfinite(true) & np.isfinite(happened)
        expected = table[self.columns[0]].to_numpy(float)[known]
        survival = table[[f"S({end:g})" for end in self.ends]].to_numpy(float)[known]
        true, happened = true[known], happened[known]
        return {
            "c_index": concordance_index(*(torch.from_numpy(each) for each in (expected, true, happened > 0))),
            "brier": integrated_brier_score(survival, self.ends, true, happened > 0),
        }

    def baselines(self, descriptions: Sequence[Describe]) -> list[Baseline]:
        constant = Constant("Kaplan-Meier", self._kaplan_meier)
        return [*(CoxTimes(describe, self.ends) for describe in descriptions[::-1]), constant]

    def report_evaluation(self, report: Report, table: pd.DataFrame) -> None:
        caption = "Halves of the patients by their predicted time; p of the log-rank test. Vertical strokes: censored."
        report.add_figure("Survival by predicted risk", survival_by_risk(table, *self.columns), caption)

    def explained(self, covariates: Tensor) -> Explained:
        return Explained(f"logit of the hazard until {self.ends[0]:g}", covariates)

    def _expected(self, survival: Array) -> Array:
        """The restricted mean time ``[N]`` of curves ``[N, T]`` that fall linearly from one end to the next."""
        curve = np.column_stack([np.ones(len(survival)), survival])
        return np.asarray(np.trapezoid(curve, [0.0, *self.ends], axis=1))

    def _kaplan_meier(self, values: Array) -> Array:
        """The probability of surviving each interval ``[T]`` by the curve of Kaplan and Meier."""
        curve = SurvfuncRight(values[:, 0], values[:, 1])
        steps = np.searchsorted(curve.surv_times, self.ends, side="right")
        return np.concatenate([[1.0], curve.surv_prob])[steps]


def _possible_times(item: Mapping[str, Any]) -> Tensor:
    """The times between which those of an item's events lie, ``[V, 2]``: without a limit if they are censored."""
    time, event = item["values"].unbind(1)
    return torch.stack([time, torch.where(event == 0, torch.inf, time)], 1)


class CoxTimes(Regression):
    """Cox regression, whose penalty maximises the concordance index for patients who were left out.

    Args:
        describe: the features of a patient.
        ends: the times at which the survival is predicted.
    """

    kind = "Cox"

    def __init__(self, describe: Describe, ends: Sequence[float]) -> None:
        super().__init__(describe)
        self.ends = ends

    def fit_rows(self, features: Array, values: Array, patients: NDArray[np.int64]) -> None:
        cox = make_pipeline(StandardScaler(), CoxRegression(PENALTIES[-1]))
        folds = GroupKFold(min(5, len(np.unique(patients))))
        search = GridSearchCV(cox, {"coxregression__alpha": PENALTIES}, scoring=_concordance, cv=folds, refit=False)
        self.cox = cox.set_params(**search.fit(features, values, groups=patients).best_params_).fit(features, values)

    def predict_rows(self, features: Array) -> Array:
        return np.asarray(self.cox[1].survival(self.cox[0].transform(features), self.ends))


def _concordance(cox: Any, features: Array, values: Array) -> float:
    found = concordance_index(*(torch.from_numpy(each) for each in (cox.predict(features), values[:, 0], values[:, 1] > 0)))
    return 0.5 if np.isnan(found) else found
