"""Targets that are numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from ignite.metrics import MeanAbsoluteError, Metric
from numpy.typing import NDArray
from torch import Tensor

from monai_cpic.cohorts.base import Explained
from monai_cpic.cohorts.baselines import Baseline
from monai_cpic.cohorts.baselines.ridge import patient_wise_ridge, predictions_for_left_out
from monai_cpic.cohorts.intervals import ScaledIntervals
from monai_cpic.cohorts.table.baselines import Constant, Regression
from monai_cpic.cohorts.table.descriptions import Describe
from monai_cpic.cohorts.table.figures import predicted_against_true
from monai_cpic.cohorts.table.lines import are_numbers, numbers
from monai_cpic.cohorts.table.targets.base import Array, Target
from monai_cpic.cohorts.tables import Problems
from monai_cpic.reporting.report import Report

__all__ = ["Number", "correlation", "determination"]

QUANTILES = (0.2, 0.5, 0.8)
COVERAGE = 0.6  # of the interval between the first and the last
MOST_STRATA, SMALLEST_STRATUM = 5, 10  # of folds: ranges of the target with equally many patients


@dataclass(frozen=True)
class Number(Target):
    """A number, of which the quantiles 0.2, 0.5 and 0.8 are predicted.

    Networks learn it in units of its standard deviation.  The table has the median under the name of the column, then ``q20``,
    ``q80`` and ``<column>_true``.

    Args:
        columns: the name of the column.
        centre: mean of the training patients.
        scale: their standard deviation.
    """

    centre: float = 0.0
    scale: float = 1.0

    kind: ClassVar[str] = "number"
    family: ClassVar[str] = "monai_cpic.networks.QuantileFamily"
    higher_is_better: ClassVar[bool] = False
    scores_caption: ClassVar[str] = (
        "Mean absolute error and root of the mean squared error in the unit of the target, correlation and R², and the share of "
        "values in their 20 to 80 % interval (0.6 expected)."
    )

    @classmethod
    def suits(cls, columns: Sequence[pd.Series]) -> bool:
        return len(columns) == 1 and are_numbers(columns[0])

    @classmethod
    def of(cls, lines: pd.DataFrame, columns: Sequence[str], problems: Problems) -> Number:
        (name,) = columns
        if not are_numbers(lines[name]):
            raise ValueError(
                f"{problems.path}: the target {name!r} is no number in most lines, such as {lines[name].iloc[0]!r}; for "
                "classes leave kind out, or set it to 'classes'."
            )
        known = numbers(lines[name], problems)
        if known.nunique() < 2:
            raise ValueError(
                f"{problems.path}: the target {name!r} is constant, {lines[name].iloc[0]}: there is nothing to learn."
            )
        return cls((name,))

    def values(self, lines: pd.DataFrame, problems: Problems) -> Array:
        return numbers(lines[self.columns[0]], problems).to_numpy()[:, None]

    def fitted(self, values: Array) -> Number:
        return replace(self, centre=float(values.mean()), scale=float(values.std() or 1.0))

    @property
    def intervals(self) -> ScaledIntervals:
        return ScaledIntervals(COVERAGE, lambda item: item["values"].expand(-1, 2))

    @property
    def outputs(self) -> list[Any]:
        return list(QUANTILES)

    def strata(self, values: Array) -> NDArray[np.int64]:
        count = int(np.clip(len(values) // SMALLEST_STRATUM, 1, MOST_STRATA))
        limits = np.quantile(values[:, 0], np.arange(1, count) / count)
        return np.searchsorted(np.unique(limits), values[:, 0])

    def labels(self, values: Array) -> Array:
        return (values - self.centre) / self.scale

    def in_units(self, outputs: Tensor) -> Tensor:
        return outputs.sort(1).values * self.scale + self.centre

    def key_metric(self) -> dict[str, Metric]:
        return {"mae": MeanAbsoluteError(self._medians)}

    def table(self, predictions: Array, values: Array) -> pd.DataFrame:
        low, median, high = predictions.T
        name = self.columns[0]
        return pd.DataFrame({name: median, "q20": low, "q80": high, f"{name}_true": values[:, 0]})

    def scores(self, table: pd.DataFrame) -> dict[str, float]:
        name = self.columns[0]
        predicted, low, high, true = (table[column].to_numpy(float) for column in (name, "q20", "q80", f"{name}_true"))
        known = np.isfinite(true)
        predicted, low, high, true = predicted[known], low[known], high[known], true[known]
        if not len(true):
            return dict.fromkeys(("mae", "rmse", "r", "r2", "coverage"), np.nan)
        error = predicted - true
        return {
            "mae": float(np.abs(error).mean()),
            "rmse": float(np.sqrt(np.square(error).mean())),
            "r": correlation(predicted, true),
            "r2": determination(predicted, true),
            "coverage": float(((low <= true) & (true <= high)).mean()),
        }

    def baselines(self, descriptions: Sequence[Describe]) -> list[Baseline]:
        constant = Constant("constant", lambda values: np.quantile(values[:, 0], QUANTILES))
        return [*(RidgeNumber(describe) for describe in descriptions[::-1]), constant]

    def report_evaluation(self, report: Report, table: pd.DataFrame) -> None:
        report.add_figure("Predicted against true", predicted_against_true(table, self.columns[0]))

    def explained(self, covariates: Tensor) -> Explained:
        return Explained(f"{self.columns[0]} - {self.centre:.4g}", covariates, QUANTILES.index(0.5), self.scale)

    def _medians(self, output: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Medians and true values of an engine's output."""
        return output["pred"][:, 1], output["label"][:, 0] * self.scale + self.centre


def correlation(predicted: Array, true: Array) -> float:
    """The correlation of predictions ``[N]`` and true values ``[N]``; NaN if either are all equal."""
    return float(np.corrcoef(predicted, true)[0, 1]) if np.ptp(true) > 0 and np.ptp(predicted) > 0 else np.nan


def determination(predicted: Array, true: Array) -> float:
    """R² of predictions ``[N]`` of true values ``[N]``, negative if worse than their mean; NaN if these are all equal."""
    return float(1 - np.square(predicted - true).mean() / true.var()) if np.ptp(true) > 0 else np.nan


class RidgeNumber(Regression):
    """Ridge regression, whose penalty minimises the absolute error for patients who were left out, and the quantiles of their
    errors.
    """

    kind = "ridge"

    def fit_rows(self, features: Array, values: Array, patients: NDArray[np.int64]) -> None:
        self.model = patient_wise_ridge(features, values[:, 0], patients, "neg_mean_absolute_error")
        errors = values[:, 0] - predictions_for_left_out(self.model, features, values[:, 0], patients)
        self.quantiles = np.quantile(errors, QUANTILES)

    def predict_rows(self, features: Array) -> Array:
        return np.asarray(self.model.predict(features)[:, None] + self.quantiles)
