"""Covariates of any kind as columns of numbers, by what was found for the training patients."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import StandardScaler

from monai_cpic.cohorts.table.lines import are_numbers, numbers
from monai_cpic.cohorts.tables import Problems

__all__ = ["Covariates", "NumberColumn", "TextColumn"]

logger = logging.getLogger(__name__)

Array = NDArray[np.float64]


@dataclass(frozen=True)
class NumberColumn:
    """A column of numbers: standardised; a missing one is replaced by the median and flagged in a column of its own.

    Args:
        name: of the column.
        median: of the training patients.
        mean: of the training patients, missing values being replaced.
        deviation: the standard deviation, likewise; 1 if all are equal.
        flagged: whether a value of the training patients is missing.
    """

    name: str
    median: float
    mean: float
    deviation: float
    flagged: bool

    @classmethod
    def fit(cls, texts: pd.Series) -> NumberColumn:
        """By the training patients; missing numbers are empty."""
        column = _numbers(texts).to_numpy(float)[:, None]
        imputer = SimpleImputer(strategy="median", keep_empty_features=True).fit(column)
        scaler = StandardScaler().fit(imputer.transform(column))
        median, mean, deviation = (float(each[0]) for each in (imputer.statistics_, scaler.mean_, scaler.scale_))
        return cls(str(texts.name), median, mean, deviation, flagged=bool(np.isnan(column).any()))

    @property
    def meanings(self) -> list[str]:
        """Of the columns of :meth:`encode`."""
        scaled = f"({self.name} - {self.mean:.4g}) / {self.deviation:.4g}"
        return [scaled, f"{self.name} is missing"] if self.flagged else [scaled]

    def encode(self, texts: pd.Series) -> Array:
        """Columns ``[N, 1]``, or ``[N, 2]`` with the flag."""
        values = _numbers(texts)
        missing = values.isna()
        scaled = (values.fillna(self.median) - self.mean) / self.deviation
        return np.column_stack([scaled, missing] if self.flagged else [scaled]).astype(float)


@dataclass(frozen=True)
class TextColumn:
    """A column of text: one column of zeros and ones for each text; all are 0 if it is missing or was unknown in training.

    Args:
        name: of the column.
        categories: the texts of the training patients, sorted.
    """

    name: str
    categories: tuple[str, ...]

    @classmethod
    def fit(cls, texts: pd.Series) -> TextColumn:
        """By the training patients; missing texts are empty."""
        return cls(str(texts.name), tuple(sorted(set(texts) - {""})))

    @property
    def meanings(self) -> list[str]:
        """Of the columns of :meth:`encode`."""
        return [f"{self.name} is {category}" for category in self.categories]

    def encode(self, texts: pd.Series) -> Array:
        """Columns ``[N, categories]``."""
        return (texts.to_numpy(object)[:, None] == np.array(self.categories, dtype=object)).astype(float)


@dataclass(frozen=True)
class Covariates:
    """The covariates of a table.

    Args:
        number_columns: the columns of numbers.
        text_columns: the columns of text.

    Example:
        >>> lines = pd.DataFrame({"age": ["60", "", "70"], "sex": ["f", "m", "f"]})
        >>> covariates = Covariates.fit(lines, lines, ["age", "sex"])
        >>> covariates.meanings
        ['(age - 65) / 4.082', 'age is missing', 'sex is f', 'sex is m']
        >>> covariates.encode(lines)[1].tolist()
        [0.0, 1.0, 0.0, 1.0]
    """

    number_columns: tuple[NumberColumn, ...]
    text_columns: tuple[TextColumn, ...]

    @classmethod
    def fit(cls, lines: pd.DataFrame, training: pd.DataFrame, names: Sequence[str]) -> Covariates:
        """Find what the columns are by all lines, and their parameters by those of the training patients.

        Args:
            lines: all lines of the table; the first column names the patient.
            training: those of the training patients.
            names: of the covariates.

        Raises:
            ValueError: when a column of text has more different texts than half the number of patients.
        """
        of_numbers = [name for name in names if are_numbers(lines[name])]
        patients = lines.iloc[:, 0].nunique()
        of_texts = [name for name in names if name not in of_numbers]
        for name in of_texts:
            known = lines[name][lines[name] != ""]
            if known.nunique() > max(patients / 2, 2):
                raise ValueError(
                    f"the covariate {name!r} has {known.nunique()} different texts, such as {known.iloc[0]!r}, for {patients} "
                    "patients: too many to learn from; group them, or leave it out of the covariates"
                )
        return cls(
            tuple(NumberColumn.fit(training[name]) for name in of_numbers),
            tuple(TextColumn.fit(training[name]) for name in of_texts),
        )

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Covariates:
        """The inverse of :attr:`settings`."""
        return cls(
            tuple(NumberColumn(**column) for column in settings["number_columns"]),
            tuple(TextColumn(column["name"], tuple(column["categories"])) for column in settings["text_columns"]),
        )

    @property
    def settings(self) -> dict[str, Any]:
        """All parameters, as plain values."""
        return asdict(self)

    @property
    def names(self) -> list[str]:
        """Of the columns of the table."""
        return [column.name for column in self._columns]

    @property
    def meanings(self) -> list[str]:
        """Of the columns of :meth:`encode`."""
        return [meaning for column in self._columns for meaning in column.meanings]

    def check(self, lines: pd.DataFrame, problems: Problems) -> None:
        """Add entries that are no numbers to the problems, and log texts that were unknown in training."""
        for number in self.number_columns:
            numbers(lines[number.name], problems)
        for text in self.text_columns:
            unknown = sorted({*lines[text.name]} - {*text.categories, ""})
            if unknown:
                logger.warning(
                    "%s: %s is %s: not in the training, taken as missing.", problems.path, text.name, ", ".join(unknown)
                )

    def encode(self, lines: pd.DataFrame) -> Array:
        """The covariates of each line, ``[N, P]``, checked before."""
        parts = [column.encode(lines[column.name]) for column in self._columns]
        return np.concatenate(parts, 1) if parts else np.empty((len(lines), 0))

    @property
    def _columns(self) -> tuple[NumberColumn | TextColumn, ...]:
        return *self.number_columns, *self.text_columns


def _numbers(texts: pd.Series) -> pd.Series:
    return pd.to_numeric(texts, errors="coerce")
