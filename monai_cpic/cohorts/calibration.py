"""Intervals that hold: their width is corrected by what was measured for patients who were held out (split conformal)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["CannotCalibrateError", "IntervalCalibration", "conformal_quantile"]


class CannotCalibrateError(ValueError):
    """These held-out patients are too few, or tell too little, for intervals with the asked coverage."""


def conformal_quantile(errors: Sequence[Tensor], coverage: float) -> float:
    """The bound below which the error of a row of a new patient lies with at least the given probability.

    The rows of a patient are not independent, but patients are exchangeable: each patient counts once, whatever the number of
    rows, and the new patient counts as one whose error may be infinite.  With one row for each patient, this is the usual split
    conformal quantile, element ``ceil((K + 1) * coverage)`` of ``K``.

    Reference: Y. Lee, R. F. Barber, R. Willett, "Distribution-free inference with hierarchical data", arXiv:2306.06342, 2023;
    V. Vovk, A. Gammerman, G. Shafer, "Algorithmic Learning in a Random World", 2005.

    Args:
        errors: for each held-out patient the errors of all rows, in any unit, ``[V]``; NaN where nothing was measured, infinite
            where the error may be of any size.  Patients without any measurement do not count.
        coverage: the probability, between 0 and 1.

    Raises:
        CannotCalibrateError: when there are too few patients for this probability.
        ValueError: when it is not between 0 and 1.

    Example:
        >>> conformal_quantile([torch.tensor([1.0]), torch.tensor([3.0, 5.0]), torch.tensor([2.0])], 0.5)
        2.0
    """
    known = [own[~own.isnan()].double() for own in errors]
    known = [own for own in known if len(own)]
    if not 0 < coverage < 1:
        raise ValueError(f"coverage must be between 0 and 1, got {coverage:g}.")
    needed = coverage * (len(known) + 1) - 1e-9  # patients; less a rounding error
    if needed > len(known):
        least = math.ceil(coverage / (1 - coverage) - 1e-9)
        raise CannotCalibrateError(f"a coverage of {coverage:g} needs at least {least} held-out patients, got {len(known)}.")
    values, order = torch.cat(known).sort()
    shares = torch.cat([torch.full_like(own, 1 / len(own)) for own in known])[order].cumsum(0)
    return float(values[torch.searchsorted(shares, needed).clamp(max=len(values) - 1)])


@dataclass(frozen=True)
class IntervalCalibration:
    """Scale intervals about their median so that they contain the given share of what is measured for new patients.

    All intervals are scaled by the same factor, so that what a model says about their relative widths is kept.

    Reference: Y. Romano, E. Patterson, E. J. Candès, "Conformalized quantile regression", NeurIPS 2019.

    Args:
        factor: of the distances of the outer quantiles from the median.

    Example:
        >>> quantiles = [torch.tensor([[2400.0, 2500.0, 2600.0]])] * 3
        >>> measured = [torch.tensor([2450.0]), torch.tensor([2700.0]), torch.tensor([2350.0])]
        >>> calibration = IntervalCalibration.fit(quantiles, measured, coverage=0.5)
        >>> calibration(torch.tensor([[1900.0, 2000.0, 2010.0]]))
        tensor([[1850., 2000., 2015.]])
    """

    factor: float

    @classmethod
    def fit(cls, outputs: Sequence[Tensor], measured: Sequence[Tensor], coverage: float) -> IntervalCalibration:
        """Find the factor.

        Args:
            outputs: predicted lower quantile, median and upper quantile of patients who were not used in training, for each
                ``[V, 3]``, in order.
            measured: what was measured, for each ``[V]``; NaN where nothing was.
            coverage: the share that the interval must contain, such as 0.6 for the quantiles 0.2 and 0.8.

        Raises:
            CannotCalibrateError: as :func:`conformal_quantile`, and when too many intervals have no width that could be scaled.
            ValueError: when predicted quantiles are NaN or not in order.
        """
        errors = []
        for number, (quantiles, values) in enumerate(zip(outputs, measured, strict=True)):
            low, median, high = quantiles.double().unbind(1)
            ordered = (low <= median) & (median <= high)
            if not ordered.all():
                raise ValueError(
                    f"patient {number}: quantiles {quantiles[~ordered][0].tolist()} are NaN or not in order: sort them."
                )
            error = values.double() - median
            width = torch.where(error < 0, median - low, high - median)
            errors.append(torch.where(error == 0, 0.0, error.abs() / width))
        factor = conformal_quantile(errors, coverage)
        if math.isinf(factor):
            raise CannotCalibrateError(f"no factor gives a coverage of {coverage:g}: too many of the intervals have no width.")
        return cls(factor)

    def __call__(self, quantiles: Tensor) -> Tensor:
        """Calibrated quantiles ``[V, 3]``."""
        median = quantiles[:, 1:2]
        return median + self.factor * (quantiles - median)
