"""Targets that are classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from ignite.metrics import EpochMetric, Metric
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from monai_cpic.cohorts.baselines import Baseline
from monai_cpic.cohorts.table.baselines import Describe, Items, rows_of, training_rows
from monai_cpic.cohorts.table.figures import confusion
from monai_cpic.cohorts.table.lines import are_numbers
from monai_cpic.cohorts.table.targets.base import Array, Target
from monai_cpic.cohorts.tables import Problems
from monai_cpic.reporting.report import Report

__all__ = ["Classes"]

INVERSE_PENALTIES = np.logspace(-4, 2, 13)


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

    columns: tuple[str, ...]
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
        texts = _names(lines[name])
        patients = lines.iloc[:, 0].groupby(texts.array).nunique()
        if len(patients) < 2:
            raise ValueError(f"{problems.path}: the target {name!r} is constant, {texts.iloc[0]!r}: there is nothing to learn.")
        if alone := patients.index[patients < 2].tolist():
            raise ValueError(
                f"{problems.path}: the target {name!r} has {len(alone)} classes with a single patient, such as {alone[0]!r}: "
                "join them with others, leave these patients out with exclude=[...], or set kind to 'number' if it is one."
            )
        known = sorted(patients.index, key=float if are_numbers(lines[name]) else str)
        return cls((name,), tuple(known))

    def values(self, lines: pd.DataFrame, problems: Problems) -> Array:
        texts = _names(lines[self.columns[0]])
        unknown = ~texts.isin([*self.classes, ""])
        problems.add(unknown, self.columns[0], f"expected one of {', '.join(self.classes)}")
        numbers = {name: number for number, name in enumerate(self.classes)}
        return texts.map(numbers).to_numpy(float)[:, None]

    def fitted(self, values: Array) -> Classes:
        counts = np.bincount(values[:, 0].astype(int), minlength=len(self.classes))
        return replace(self, shares=tuple(((counts + 1) / (counts + 1).sum()).tolist()))

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

        return {"auc": EpochMetric(compute, _probabilities, check_compute_fn=False)}

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
        count = len(self.classes)
        return [*(LogisticClasses(describe, count) for describe in descriptions[::-1]), ConstantClasses(count)]

    def report_evaluation(self, report: Report, table: pd.DataFrame) -> None:
        report.add_figure("Predicted against true", confusion(table, self.columns[0], self.classes))

    def equals(self, covariate: pd.Series, lines: pd.DataFrame) -> bool:
        known = (covariate != "") & (lines[self.columns[0]] != "")
        pairs = pd.DataFrame({"covariate": covariate[known], "target": lines[self.columns[0]][known]}).drop_duplicates()
        return bool(len(pairs) == len(self.classes) and pairs["covariate"].is_unique and pairs["target"].is_unique)


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


class ConstantClasses(Baseline):
    """The shares of the training patients.

    Args:
        classes: number of classes.
    """

    name = "constant"

    def __init__(self, classes: int) -> None:
        self.classes = classes

    def fit(self, training: Items) -> None:
        _, values, _ = training_rows(training, None)
        counts = np.bincount(values[:, 0].astype(int), minlength=self.classes) + 1
        self.shares = torch.from_numpy(counts / counts.sum())

    def predict(self, patients: Items) -> list[Tensor]:
        return [self.shares.expand(count, -1) for count in rows_of(patients)]


class LogisticClasses(Baseline):
    """Logistic regression, whose penalty minimises the cross-entropy for patients who were left out.

    Args:
        describe: the features of a patient.
        classes: number of classes.
    """

    def __init__(self, describe: Describe, classes: int) -> None:
        self.name = f"logistic regression on {describe.name}"
        self.describe = describe
        self.classes = classes

    def fit(self, training: Items) -> None:
        features, values, patients = training_rows(training, self.describe)
        labels = values[:, 0].astype(int)
        smallest = min(len(np.unique(patients[labels == number])) for number in np.unique(labels))
        model = make_pipeline(StandardScaler(), LogisticRegression(C=INVERSE_PENALTIES[0], max_iter=1000))
        if smallest > 1:
            parts = StratifiedGroupKFold(min(5, smallest))
            grid = {"logisticregression__C": INVERSE_PENALTIES}
            search = GridSearchCV(model, grid, scoring=_negative_cross_entropy, cv=parts, refit=False)
            model.set_params(**search.fit(features, labels, groups=patients).best_params_)
        self.model = model.fit(features, labels)

    def predict(self, patients: Items) -> list[Tensor]:
        probabilities = torch.zeros(sum(rows_of(patients)), self.classes, dtype=torch.float64)
        probabilities[:, self.model.classes_] = torch.from_numpy(self.model.predict_proba(self.describe(patients)))
        return list(probabilities.split(rows_of(patients)))


def _negative_cross_entropy(model: Any, features: Array, labels: NDArray[Any]) -> float:
    return -float(log_loss(labels, model.predict_proba(features), labels=model.classes_))


def _names(column: pd.Series) -> pd.Series:
    """Names of classes: texts as they are, numbers in their shortest form, so that 1 and 1.0 are one class."""
    return column.map(lambda text: f"{float(text):g}" if text else "") if are_numbers(column) else column


def _probabilities(output: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Probabilities and labels of an engine's output."""
    return output["pred"], output["label"][:, 0].long()
