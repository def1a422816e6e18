"""Targets that are classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from ignite.metrics import EpochMetric, Metric
from monai.handlers import from_engine
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from torch import Tensor

from monai_cpic.cohorts.base import Explained
from monai_cpic.cohorts.baselines import Baseline
from monai_cpic.cohorts.baselines.logistic import patient_wise_logistic
from monai_cpic.cohorts.table.baselines import Constant, Regression
from monai_cpic.cohorts.table.descriptions import Describe
from monai_cpic.cohorts.table.figures import confusion
from monai_cpic.cohorts.table.lines import are_numbers
from monai_cpic.cohorts.table.targets.base import Array, Target
from monai_cpic.cohorts.tables import Problems
from monai_cpic.reporting.report import Report

__all__ = ["Classes"]


@dataclass(frozen=True)
class Classes(Target):
    """Classes, whose probabilities are predicted.

    The values are numbers of classes, from 0.  The table has the predicted class under the name of the column, the probability of
    each class (``p_<class>``), and ``<column>_true``.  The predicted class is the one whose probability is highest in relation to
    its share of the training patients, which maximises the balanced accuracy: rare classes are predicted, too.

    Args:
        columns: the name of the column.
        classes: the names, sorted.
        shares: of the classes in the training patients.
    """

    classes: tuple[str, ...]
    shares: tuple[float, ...] = ()

    kind: ClassVar[str] = "classes"
    family: ClassVar[str] = "monai_cpic.networks.ClassFamily"
    higher_is_better: ClassVar[bool] = True
    scores_caption: ClassVar[str] = (
        "Area under the ROC curve (mean over the classes against the others, if there are more than two), balanced accuracy, and "
        "cross-entropy (lower is better)."
    )

    @classmethod
    def suits(cls, columns: Sequence[pd.Series]) -> bool:
        return len(columns) == 1 and (not are_numbers(columns[0]) or pd.to_numeric(columns[0], errors="coerce").nunique() == 2)

    @classmethod
    def of(cls, lines: pd.DataFrame, columns: Sequence[str], problems: Problems) -> Classes:
        (name,) = columns
        texts, are_all_numbers = _names(lines[name]), are_numbers(lines[name])
        if are_all_numbers:
            broken = pd.to_numeric(texts, errors="coerce").isna()
            problems.add(broken, name, "expected a number, as in other lines")
            texts = texts[~broken]
        patients = lines.iloc[:, 0][texts.index].groupby(texts.array).nunique()
        if len(patients) < 2:
            raise ValueError(f"{problems.path}: the target {name!r} is constant, {texts.iloc[0]!r}: there is nothing to learn.")
        if alone := patients.index[patients < 2].tolist():
            raise ValueError(
                f"{problems.path}: the target {name!r} has {len(alone)} classes with a single patient, such as {alone[0]!r}: "
                "join them with others, leave these patients out with exclude=[...], or set kind to 'number' if it is one."
            )
        known = sorted(patients.index, key=float if are_all_numbers else str)
        return cls((name,), tuple(known))

    def values(self, lines: pd.DataFrame, problems: Problems) -> Array:
        texts = _names(lines[self.columns[0]])
        unknown = ~texts.isin([*self.classes, ""])
        problems.add(unknown, self.columns[0], f"expected one of {', '.join(self.classes)}")
        numbers = {name: number for number, name in enumerate(self.classes)}
        return texts.map(numbers).to_numpy(float)[:, None]

    def fitted(self, values: Array) -> Classes:
        return replace(self, shares=tuple(self._shares(values).tolist()))

    @property
    def outputs(self) -> list[Any]:
        return list(self.classes)

    def strata(self, values: Array) -> NDArray[np.int64]:
        return values[:, 0].astype(int)

    def labels(self, values: Array) -> Array:
        return values

    def in_units(self, outputs: Tensor) -> Tensor:
        return outputs.softmax(1)

    def key_metric(self) -> dict[str, Metric]:
        def compute(probabilities: Tensor, labels: Tensor) -> float:
            return area_under_curve(labels.numpy(), probabilities.double().numpy())

        return {"auc": EpochMetric(compute, from_engine(["pred", "label"]), check_compute_fn=False)}

    def table(self, predictions: Array, values: Array) -> pd.DataFrame:
        name, true = self.columns[0], values[:, 0]
        chosen = (predictions / np.array(self.shares)).argmax(1)
        names = np.array([*self.classes, None], dtype=object)
        return pd.DataFrame(
            {
                name: names[chosen],
                **{f"p_{label}": predictions[:, number] for number, label in enumerate(self.classes)},
                f"{name}_true": names[np.where(np.isnan(true), len(self.classes), true).astype(int)],
            }
        )

    def scores(self, table: pd.DataFrame) -> dict[str, float]:
        name = self.columns[0]
        numbers = {label: number for number, label in enumerate(self.classes)}
        true = table[f"{name}_true"].map(numbers).to_numpy(float)
        known = ~np.isnan(true)
        if not known.any():
            return {"auc": np.nan, "balanced_accuracy": np.nan, "cross_entropy": np.nan}
        labels = true[known].astype(int)
        chosen = table[name].map(numbers).to_numpy()[known]
        probabilities = table[[f"p_{label}" for label in self.classes]].to_numpy(float)[known]
        recall = [float((chosen[labels == number] == number).mean()) for number in np.unique(labels)]
        own = probabilities[np.arange(len(labels)), labels].clip(1e-15)
        return {
            "auc": area_under_curve(labels, probabilities),
            "balanced_accuracy": float(np.mean(recall)),
            "cross_entropy": float(-np.log(own).mean()),
        }

    def baselines(self, descriptions: Sequence[Describe]) -> list[Baseline]:
        regressions = [LogisticClasses(describe, len(self.classes)) for describe in descriptions[::-1]]
        return [*regressions, Constant("constant", self._shares)]

    def report_evaluation(self, report: Report, table: pd.DataFrame) -> None:
        report.add_figure("Predicted against true", confusion(table, self.columns[0], self.classes))

    def explained(self, covariates: Tensor) -> Explained:
        return Explained(f"logit of {self.classes[-1]}", covariates, len(self.classes) - 1)

    def equals(self, covariate: pd.Series, lines: pd.DataFrame) -> bool:
        known = (covariate != "") & (lines[self.columns[0]] != "")
        pairs = pd.DataFrame({"covariate": covariate[known], "target": lines[self.columns[0]][known]}).drop_duplicates()
        return bool(len(pairs) == len(self.classes) and pairs["covariate"].is_unique and pairs["target"].is_unique)

    def _shares(self, values: Array) -> Array:
        """The share of each class, as if each had occurred once more."""
        counts = np.bincount(values[:, 0].astype(int), minlength=len(self.classes)) + 1
        return np.asarray(counts / counts.sum())


def area_under_curve(labels: NDArray[Any], probabilities: Array) -> float:
    """The area under the ROC curve, the mean over the classes that occur, each against the others; NaN if there is only one.

    Args:
        labels: numbers of classes ``[N]``.
        probabilities: ``[N, K]``.
    """
    present = np.unique(labels).astype(int)
    if len(present) < 2:
        return float("nan")
    classes = present if probabilities.shape[1] > 2 else present[1:]  # both classes have the same area
    return float(np.mean([roc_auc_score(labels == number, probabilities[:, number]) for number in classes]))


class LogisticClasses(Regression):
    """Logistic regression, whose penalty minimises the cross-entropy for patients who were left out.

    Args:
        describe: the features of a patient.
        classes: number of classes, not all of which need occur.
    """

    kind = "logistic regression"

    def __init__(self, describe: Describe, classes: int) -> None:
        super().__init__(describe)
        self.classes = classes

    def fit_rows(self, features: Array, values: Array, patients: NDArray[np.int64]) -> None:
        self.model = patient_wise_logistic(features, values[:, 0].astype(int), patients)

    def predict_rows(self, features: Array) -> Array:
        probabilities = np.zeros((len(features), self.classes))
        probabilities[:, self.model.classes_] = self.model.predict_proba(features)
        return probabilities


def _names(column: pd.Series) -> pd.Series:
    """Names of classes: texts as they are, numbers in their shortest form, so that 1 and 1.0 are one class."""
    values = pd.to_numeric(column, errors="coerce")
    return column.where(values.isna(), values.map("{:g}".format)) if are_numbers(column) else column
