"""The interface of targets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from ignite.metrics import Metric
from numpy.typing import NDArray
from torch import Tensor

from monai_cpic.cohorts.base import Explained
from monai_cpic.cohorts.baselines import Baseline
from monai_cpic.cohorts.intervals import Intervals
from monai_cpic.cohorts.table.descriptions import Describe
from monai_cpic.cohorts.tables import Problems
from monai_cpic.reporting.report import Report

__all__ = ["Target"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Target(ABC):
    """What is predicted: columns of a table, and what follows from them.

    Derive a frozen dataclass of plain values from it.  ``M`` values of a line, such as a time and an event, are float64 and NaN
    where they are not known.

    Args:
        columns: names of the columns that hold the target; the first one names the predictions.

    Attributes:
        kind: name of the kind.
        family: the part of :mod:`monai_cpic.networks` that trains it (:class:`~monai_cpic.networks.Family`).
        higher_is_better: whether a higher value of the key metric is better.
        scores_caption: the meanings and units of the scores, for the report.
    """

    columns: tuple[str, ...]

    kind: ClassVar[str]
    family: ClassVar[str]
    higher_is_better: ClassVar[bool]
    scores_caption: ClassVar[str]

    @classmethod
    @abstractmethod
    def suits(cls, columns: Sequence[pd.Series]) -> bool:
        """Whether columns of text look like this kind."""

    @classmethod
    @abstractmethod
    def of(cls, lines: pd.DataFrame, columns: Sequence[str], problems: Problems) -> Self:
        """The target of a table, before it is fitted.

        Args:
            lines: of the table, with a known target.
            columns: that hold the target.
            problems: to which broken entries are added.

        Raises:
            ValueError: if there is nothing to learn from, such as a constant.
        """

    @abstractmethod
    def values(self, lines: pd.DataFrame, problems: Problems) -> Array:
        """The true values ``[N, M]`` of lines of a table; broken entries are added to the problems."""

    @abstractmethod
    def fitted(self, values: Array) -> Self:
        """With the parameters that follow from the values ``[N, M]`` of the training patients."""

    @property
    @abstractmethod
    def outputs(self) -> list[Any]:
        """The argument of the family: plain values that describe the outputs."""

    @abstractmethod
    def strata(self, values: Array) -> NDArray[np.int64]:
        """Strata ``[N]`` that each fold of a cross-validation shall have the same share of."""

    @abstractmethod
    def labels(self, values: Array) -> Array:
        """True values ``[N, M]`` in the units of the loss."""

    @abstractmethod
    def in_units(self, outputs: Tensor) -> Tensor:
        """Outputs ``[R, O]`` of a network as predictions ``[R, Q]``."""

    @abstractmethod
    def key_metric(self) -> dict[str, Metric]:
        """A metric of predictions and labels, by its name, which compares epochs."""

    @abstractmethod
    def table(self, predictions: Array, values: Array) -> pd.DataFrame:
        """The columns of predictions.csv of predictions ``[N, Q]`` and true values ``[N, M]``."""

    @abstractmethod
    def scores(self, table: pd.DataFrame) -> dict[str, float]:
        """The scores of a table of predictions, see :meth:`~monai_cpic.cohorts.Cohort.scores`."""

    @abstractmethod
    def baselines(self, descriptions: Sequence[Describe]) -> list[Baseline]:
        """Models that do not see the scans: a constant, and one for each way to describe a patient."""

    @abstractmethod
    def report_evaluation(self, report: Report, table: pd.DataFrame) -> None:
        """Add figures of predictions whose true values are known."""

    @abstractmethod
    def explained(self, covariates: Tensor) -> Explained:
        """The number that the report explains, for covariates ``[1, P]``."""

    @property
    def intervals(self) -> Intervals | None:
        """The intervals of predictions; None: there are none."""
        return None

    @property
    def settings(self) -> dict[str, Any]:
        """All parameters, as plain values."""
        return asdict(self)

    @classmethod
    def from_settings(cls, settings: dict[str, Any]) -> Self:
        """The inverse of :attr:`settings`."""
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()})

    def equals(self, covariate: pd.Series, lines: pd.DataFrame) -> bool:
        """Whether a covariate says the target: the same texts, or numbers that are a linear function of it."""
        return any(_same(covariate, lines[column]) for column in self.columns)


def _same(one: pd.Series, other: pd.Series) -> bool:
    known = (one != "") & (other != "")
    if not known.any():
        return False
    if (one[known] == other[known]).all():
        return True
    numbers = [pd.to_numeric(column[known], errors="coerce") for column in (one, other)]
    if any(column.isna().any() or column.nunique() < 2 for column in numbers):
        return False
    return bool(abs(np.corrcoef(*numbers)[0, 1]) > 1 - 1e-9)
