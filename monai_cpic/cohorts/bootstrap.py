"""Intervals of scores by resampling patients."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import DegenerateDataWarning, bootstrap

__all__ = ["CONFIDENCE", "Estimate", "bootstrap_by_patient"]

CONFIDENCE = 0.95
_RESAMPLES = 1000
_SEED = 0


@dataclass(frozen=True)
class Estimate:
    """A score with its interval.

    Args:
        value: the score of all patients; NaN if it is not defined.
        low: lower end of the interval; NaN if there is none.
        high: upper end.
    """

    value: float
    low: float
    high: float

    @property
    def interval(self) -> list[float]:
        """Both ends."""
        return [self.low, self.high]


def bootstrap_by_patient(statistics: Callable[[NDArray[np.int64]], ArrayLike], rows: Sequence[int]) -> list[Estimate]:
    """Compute statistics of the rows of a table, each with its 95 % interval (percentiles of 1000 resamples, with a fixed seed).

    Patients are drawn with replacement and with all of their rows, because the rows of a patient are not independent.  All
    statistics are computed on the same resamples, so that the interval of a difference between two models is paired.

    Reference: B. Efron, R. Tibshirani, "An Introduction to the Bootstrap", 1993, chapters 8 and 13.

    Args:
        statistics: takes the numbers of rows, int64 ``[R]``, in which rows may repeat, and returns ``K`` values, which must not
            depend on the order of the rows.
        rows: how many rows of the table each patient has; the patients' rows follow each other.

    Returns:
        The ``K`` values for all rows, with their intervals.  A resample for which a value is not defined (NaN) does not count
        for the value's interval.  With fewer than two patients, or if no resample defines the value, the ends are NaN.

    Example:
        >>> errors = np.array([1.0, 1.0, 3.0])
        >>> bootstrap_by_patient(lambda rows: [errors[rows].mean()], rows=[2, 1])
        [Estimate(value=1.6666666666666667, low=1.0, high=3.0)]
    """
    places = np.split(np.arange(sum(rows)), np.cumsum(rows)[:-1])
    values = np.asarray(statistics(np.arange(sum(rows))), dtype=float)
    if len(rows) < 2:
        return [Estimate(value, np.nan, np.nan) for value in values.tolist()]

    @cache  # of few patients, the same are often drawn again
    def of_patients(*drawn: int) -> NDArray[np.float64]:
        return np.asarray(statistics(np.concatenate([places[patient] for patient in drawn])), dtype=float)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DegenerateDataWarning)  # of values that some resamples do not define
        resampled = bootstrap(
            (np.arange(len(rows)),),
            lambda drawn, axis: np.apply_along_axis(lambda patients: of_patients(*np.sort(patients)), axis, drawn).T,
            vectorized=True,
            n_resamples=_RESAMPLES,
            confidence_level=CONFIDENCE,
            method="percentile",
            rng=np.random.default_rng(_SEED),
        ).bootstrap_distribution
    return [Estimate(value, *_interval(given)) for value, given in zip(values.tolist(), resampled, strict=True)]


def _interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """The ends between which the share :data:`CONFIDENCE` of the values lies that are defined."""
    values = values[np.isfinite(values)]
    if not len(values):
        return np.nan, np.nan
    low, high = np.quantile(values, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)
