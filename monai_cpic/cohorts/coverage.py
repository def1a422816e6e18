"""How often intervals contain the truth: of held-out patients, each calibrated without himself, and of groups of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from monai_cpic.cohorts.bootstrap import Estimate, bootstrap_by_patient
from monai_cpic.cohorts.intervals import Intervals

__all__ = ["Coverage", "contains", "left_out_intervals", "measure_coverage"]

PARTS = 20  # in which patients are left out, at most


def left_out_intervals(intervals: Intervals, patients: Sequence[Mapping[str, Any]], outputs: Sequence[Tensor]) -> list[Tensor]:
    """The intervals ``[V, 2]`` of each patient, calibrated on others only (cross-conformal prediction).

    Patients are left out one by one; if there are more than 20, in 20 parts.

    Reference: V. Vovk, "Cross-conformal predictors", Annals of Mathematics and Artificial Intelligence 74, 2015.

    Raises:
        CannotCalibrateError: when the others are too few.
    """
    parts = min(PARTS, len(patients))
    found: dict[int, Tensor] = {}
    for part in range(parts):
        others = [number for number in range(len(patients)) if number % parts != part]
        calibration = intervals.fit([patients[number] for number in others], [outputs[number] for number in others])
        found |= {number: intervals(outputs[number], calibration) for number in range(part, len(patients), parts)}
    return [found[number] for number in range(len(patients))]


def contains(ends: Tensor, truth: Tensor) -> Tensor:
    """Whether intervals contain the truth: 1 or 0, and NaN where that is not known, float64 ``[R]``.

    Args:
        ends: lower and upper ends ``[R, 2]``.
        truth: the values between which each true value lies, ``[R, 2]``, as for :class:`~monai_cpic.cohorts.intervals.Intervals`.

    Example:
        >>> truth = torch.tensor([[3.0, 3.0], [6.0, 6.0], [3.0, torch.inf], [6.0, torch.inf], [torch.nan, torch.nan]])
        >>> contains(torch.tensor([[2.0, 5.0]]), truth)
        tensor([1., 0., nan, 0., nan], dtype=torch.float64)
    """
    (low, high), (at_least, at_most) = ends.double().unbind(1), truth.double().unbind(1)
    inside = (low <= at_least) & (at_most <= high)
    outside = (at_most < low) | (high < at_least)
    return inside.double().where(inside | outside, torch.nan)


@dataclass(frozen=True)
class Coverage:
    """How often the intervals of held-out patients contain the truth.

    Args:
        expected: how often they should.
        ends: calibrated intervals ``[R, 2]``, each patient's by others.
        patients: number of patients of whom that is known.
        unknown: number of the other patients.
        before: share of the model's own intervals that contain the truth; None if the model predicts none.
        after: share of the calibrated intervals.
        groups: for each group (``group``) the number of rows of which it is known, and both shares.
    """

    expected: float
    ends: Tensor
    patients: int
    unknown: int
    before: Estimate | None
    after: Estimate
    groups: Sequence[Mapping[str, Any]]

    def metrics(self) -> dict[str, Any]:
        """For metrics.json."""
        before = {} if self.before is None else _flat("coverage_before", self.before)
        widths = self.ends[:, 1] - self.ends[:, 0]
        return {
            "expected_coverage": self.expected,
            **before,
            **_flat("coverage", self.after),
            "median_width": widths.median().item(),
            "patients": self.patients,
            "patients_of_unknown_truth": self.unknown,
            "groups": {row["group"]: {key: value for key, value in row.items() if key != "group"} for row in self.groups},
        }

    def sentence(self) -> str:
        """The shares in words."""
        before = "" if self.before is None else f", and before the calibration {_percent(self.before)}"
        unknown = f" {self.unknown} more do not count, because it is not known." if self.unknown else ""
        return (
            f"Calibrated intervals should contain {100 * self.expected:.0f} % of the true values. They contain "
            f"{_percent(self.after)}{before}: {self.patients} patients, each calibrated on others.{unknown}"
        )


def measure_coverage(
    intervals: Intervals, patients: Sequence[Mapping[str, Any]], outputs: Sequence[Tensor], groups: pd.DataFrame, rows: str
) -> Coverage:
    """Calibrate the intervals of held-out patients, each on others, and count how often they contain the truth.

    Args:
        intervals: the cohort's intervals.
        patients: items of patients who were not trained on.
        outputs: for each a prediction ``[V, Q]`` in the units of the table.
        groups: a column for each division, with the group of each row (:meth:`~monai_cpic.cohorts.Cohort.groups`).
        rows: name of the rows, in the plural.

    Raises:
        CannotCalibrateError: when the patients are too few.
    """
    truth = torch.cat([intervals.truth(item) for item in patients])
    ends = torch.cat(left_out_intervals(intervals, patients, outputs))
    after = contains(ends, truth)
    known = [bool(own.isfinite().any()) for own in after.split([len(output) for output in outputs])]
    shares = {"coverage": after.numpy()}
    if intervals.uncalibrated is not None:
        own = torch.cat([intervals(output, intervals.uncalibrated) for output in outputs])
        shares = {"coverage_before": contains(own, truth).numpy(), **shares}
    *before, overall = bootstrap_by_patient(
        lambda chosen: [_mean(share[chosen]) for share in shares.values()], [len(output) for output in outputs]
    )
    by_group = []
    for division, of_rows in groups.items():
        for group, places in pd.Series(range(len(groups))).groupby(of_rows.array, observed=True):
            counted = {rows: int(np.isfinite(shares["coverage"][places]).sum())}
            means = {name: _mean(share[places]) for name, share in shares.items()}
            by_group.append({"group": f"{division}: {group}", **counted, **means})
    return Coverage(
        expected=intervals.coverage,
        ends=ends,
        patients=sum(known),
        unknown=len(known) - sum(known),
        before=before[0] if before else None,
        after=overall,
        groups=by_group,
    )


def _mean(share: NDArray[np.float64]) -> float:
    """The mean of what is known; NaN if nothing is."""
    known = share[np.isfinite(share)]
    return float(known.mean()) if len(known) else np.nan


def _flat(name: str, estimate: Estimate) -> dict[str, Any]:
    return {name: estimate.value, f"{name}_interval": estimate.interval}


def _percent(estimate: Estimate) -> str:
    interval = "" if np.isnan(estimate.low) else f" ({100 * estimate.low:.0f} to {100 * estimate.high:.0f})"
    return f"{100 * estimate.value:.0f} %{interval}"
