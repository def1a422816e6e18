"""Which intervals a cohort's predictions have, and how they are calibrated on patients who were held out."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from monai_cpic.cohorts.calibration import IntervalCalibration, conformal_quantile

__all__ = ["Intervals", "OffsetIntervals", "ScaledIntervals"]

Truth = Callable[[Mapping[str, Any]], Tensor]


class Intervals(ABC):
    """Intervals that contain the true value of new patients with a given probability, whatever the model.

    They are calibrated on patients who were not trained on (split conformal prediction), and hold for new patients who are like
    those: who could have been held out in their place.

    Args:
        coverage: the probability.
        truth: from an item to the values between which the true value of each row lies, ``[V, 2]`` in the units of the table:
            twice the true value where it is known; the last known value and infinity where it is larger than that (censored); NaN
            where nothing is known.
    """

    def __init__(self, coverage: float, truth: Truth) -> None:
        self.coverage = coverage
        self.truth = truth

    @property
    def uncalibrated(self) -> Mapping[str, float] | None:
        """The calibration that leaves the model's own intervals as they are; None if the model predicts none."""
        return None

    @abstractmethod
    def fit(self, patients: Sequence[Mapping[str, Any]], outputs: Sequence[Tensor]) -> dict[str, float]:
        """Calibrate.

        Args:
            patients: items of patients who were not trained on, with their true values.
            outputs: for each patient a prediction ``[V, Q]`` in the units of the table.

        Returns:
            The calibration, plain values for the model file.

        Raises:
            CannotCalibrateError: when there are too few patients.
        """

    @abstractmethod
    def __call__(self, output: Tensor, calibration: Mapping[str, float]) -> Tensor:
        """The lower and the upper end for each row ``[V, 2]`` of a prediction ``[V, Q]``; infinite where there is no bound."""


class ScaledIntervals(Intervals):
    """The model predicts a lower quantile, the median and an upper quantile, which are scaled about the median.

    See :class:`~monai_cpic.cohorts.calibration.IntervalCalibration`.  The true value of each row must be known or unknown.

    Example:
        >>> intervals = ScaledIntervals(0.5, lambda item: item["fvc"][:, None].expand(-1, 2))
        >>> patients = [{"fvc": torch.tensor([fvc])} for fvc in (2450.0, 2700.0, 2350.0)]
        >>> calibration = intervals.fit(patients, [torch.tensor([[2400.0, 2500.0, 2600.0]])] * 3)
        >>> calibration, intervals(torch.tensor([[1900.0, 2000.0, 2010.0]]), calibration)
        ({'factor': 1.5}, tensor([[1850., 2015.]]))
    """

    @property
    def uncalibrated(self) -> Mapping[str, float]:
        return {"factor": 1.0}

    def fit(self, patients: Sequence[Mapping[str, Any]], outputs: Sequence[Tensor]) -> dict[str, float]:
        measured = [self.truth(item)[:, 0] for item in patients]
        return asdict(IntervalCalibration.fit(outputs, measured, self.coverage))

    def __call__(self, output: Tensor, calibration: Mapping[str, float]) -> Tensor:
        return IntervalCalibration(**calibration)(output)[:, [0, 2]]


class OffsetIntervals(Intervals):
    """The model predicts one value, around which all intervals are alike: so much below, and so much above.

    Either end is missed with at most half of the allowed probability.  Censored values make an interval wider, never wrong: the
    last known value bounds the true value from below, and from above it may be anything.  Where more are censored than may be
    missed, there is no upper end.

    Reference: E. Candès, L. Lei, Z. Ren, "Conformalized survival analysis", JRSS-B 85(1), 2023, for the lower end.

    Args:
        coverage: the probability.
        truth: as for :class:`Intervals`.
        lowest: the lowest possible value.
        predicted: from an output ``[V, Q]`` to the predicted values ``[V]``; by default its first column.

    Example:
        >>> intervals = OffsetIntervals(0.5, lambda item: torch.tensor([[item["died"], item["died"]]]), lowest=0.0)
        >>> calibration = intervals.fit([{"died": 90.0}, {"died": 120.0}, {"died": 150.0}], [torch.tensor([[100.0]])] * 3)
        >>> calibration, intervals(torch.tensor([[5.0]]), calibration)
        ({'below': 10.0, 'above': 50.0}, tensor([[ 0., 55.]]))
    """

    def __init__(
        self,
        coverage: float,
        truth: Truth,
        lowest: float = -math.inf,
        predicted: Callable[[Tensor], Tensor] = lambda output: output[:, 0],
    ) -> None:
        super().__init__(coverage, truth)
        self.lowest = lowest
        self.predicted = predicted

    def fit(self, patients: Sequence[Mapping[str, Any]], outputs: Sequence[Tensor]) -> dict[str, float]:
        below, above = [], []
        for item, output in zip(patients, outputs, strict=True):
            low, high = self.truth(item).double().unbind(1)
            predicted = self.predicted(output).double()
            if predicted.isnan().any():
                raise ValueError(f"patient {item['patient']}: the prediction is NaN.")
            below.append(predicted - low)
            above.append(high - predicted)
        each = (1 + self.coverage) / 2
        return {"below": conformal_quantile(below, each), "above": conformal_quantile(above, each)}

    def __call__(self, output: Tensor, calibration: Mapping[str, float]) -> Tensor:
        predicted = self.predicted(output)[:, None]
        ends = torch.cat([predicted - calibration["below"], predicted + calibration["above"]], 1)
        return ends.clamp(min=self.lowest)
