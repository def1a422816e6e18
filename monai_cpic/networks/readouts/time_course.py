"""A measurement that changes over time: a rate from the scan, a line whose slope depends on it, and quantiles around the line."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor

from monai_cpic.networks.readouts.base import Readout
from monai_cpic.networks.readouts.kernel_ridge import (
    PENALTIES,
    ROUNDING,
    SHARES,
    centred,
    check_finite,
    left_out_errors,
    members_of,
    unit_kernel,
)
from monai_cpic.networks.readouts.score import ScoreReadout, places_of, with_common_mean
from monai_cpic.networks.sampled_field import SampledField

__all__ = ["TimeCourseReadout"]

PRECISION = torch.float64
SMALLEST_SPREAD = 1e-3  # in units of the target: keeps the likelihood finite where every error is 0


class TimeCourseReadout(Readout):
    r"""Two linear models: from the scan to the rate of change, and from this rate, covariates and time to the change.

    The first is a readout of its own, such as :class:`~monai_cpic.networks.RidgeReadout`, for the rate, which all rows of a scan
    share.  The second is ridge regression for the change since the baseline, on the time and its products with the
    covariates and with the predicted rate: what a scan says is added to what the table says.  It is fitted to rates of scans that
    were left out, as an encoder overfits the scans that it has seen (stacked generalization, D. H. Wolpert, Neural Networks 5(2),
    1992).  The penalty, and the weight of the rate against the covariates, minimise the absolute error for scans that are left
    out: a rate that does not help has the weight 0, and the model is then that of the table alone.

    The outputs are quantiles around that line, then the rate.  The quantiles are those of a Laplace distribution.  The distance
    from 0.2 to 0.8 at the time :math:`t` is :math:`\sqrt{a^2 + (b\,t)^2}`, since errors of single measurements and of slopes are
    independent.  :math:`a` and :math:`b` maximise the likelihood of the errors for scans left out if that distance is taken for
    the standard deviation, as the score of the OSIC challenge does.

    Args:
        quantiles: ``Q`` numbers between 0 and 1 in increasing order.
        covariates: number of covariates, of which the first is the time since the baseline.
        rate: predicts the rate, from the scan without covariates.

    Attributes:
        share: weight of the rate from the scan in the last fit; the covariates have the rest.

    Example:
        >>> from monai_cpic.networks import RidgeReadout, SampledField
        >>> from monai_cpic.tensor_train import TensorTrain
        >>> scan = TensorTrain([torch.rand(9, 1, 8, 1).double()])
        >>> field = SampledField(scan, means=torch.rand(9, 2).double(), maxima=torch.rand(9, 2).double(), scan=scan)
        >>> time_and_age, change_and_rate = torch.rand(9, 2), torch.rand(9, 2)
        >>> readout = TimeCourseReadout((0.2, 0.5, 0.8), covariates=2, rate=RidgeReadout(1, 0, n_dims=2, mode_sizes=[8]))
        >>> readout.fit(field, change_and_rate, time_and_age)
        >>> readout(field, time_and_age).shape
        torch.Size([9, 4])
    """

    distances: Tensor
    scale: Tensor
    slope: Tensor
    constant: Tensor
    spread: Tensor
    share: Tensor

    def __init__(self, quantiles: Sequence[float], covariates: int, rate: ScoreReadout) -> None:
        super().__init__()
        if covariates < 1:
            raise ValueError("a course over time needs covariates, of which the first is the time")
        self.rate = rate
        self.fewest = rate.fewest
        self.reads_coarse = rate.reads_coarse
        self.covariates = covariates
        self.register_buffer("distances", _laplace_quantiles(quantiles))
        self.register_buffer("scale", torch.ones(covariates + 1, dtype=PRECISION))
        self.register_buffer("slope", torch.zeros(covariates + 1, dtype=PRECISION))
        self.register_buffer("constant", torch.tensor(0.0, dtype=PRECISION))
        self.register_buffer("spread", torch.zeros(2, dtype=PRECISION))
        self.register_buffer("share", torch.tensor(0.0, dtype=PRECISION))

    @property
    def summary(self) -> str:
        visit, course = self.spread.tolist()
        return f"{self.rate.summary}; {self.share:.2f} of the course from the scan, width {visit:.2f} and {course:.2f} per time"

    def forward(self, field: SampledField, covariates: Tensor | None = None, rows: Tensor | None = None) -> Tensor:
        rates = self.rate(field, rows=rows)[:, 0]
        known = self._checked(covariates, len(rates))
        median = self._features(known, rates) @ self.slope + self.constant
        width = torch.hypot(self.spread[0], self.spread[1] * known[:, 0])
        return torch.cat([median[:, None] + width[:, None] * self.distances, rates[:, None]], 1)

    @torch.no_grad()
    def fit(
        self,
        field: SampledField,
        target: Tensor,
        covariates: Tensor | None = None,
        rows: Tensor | None = None,
        patients: Tensor | None = None,
    ) -> None:
        """Fit both models and the width of the quantiles.

        Args:
            field: ``B`` latent fields.
            target: change and rate ``[R, 2]``; the rate must be the same in all rows of a field.
            covariates: ``[R, covariates]``.
            rows: index of each row's field, int64 ``[R]``.
            patients: a number for the patient of each row, int64 ``[R]``; default: each field is a patient.

        Raises:
            ValueError: if there are fewer than three patients, a number is NaN or infinite, or the number of covariates differs
                from that of the constructor.
        """
        known, target = self._checked(covariates, len(target)), target.to(self.slope)
        places, groups = places_of(field, rows, patients, target, self.fewest)
        check_finite("covariates", known)
        seen, first = torch.unique(places, return_inverse=True)
        chosen = torch.stack([(first == k).nonzero()[0, 0] for k in range(len(seen))])  # one row of each field
        rates = self._rates(field[seen], target[chosen, -1:], groups[chosen])[first]
        change = target[:, 0]
        raw = self._products(known, rates)
        variance = raw.var(0, correction=0)
        self.scale.copy_(variance.sqrt().where(variance > ROUNDING * raw.square().mean(0), 1.0))
        features = raw / self.scale
        best, members = torch.inf, members_of(groups)
        parts = (features[:, [0, -1]], features[:, :-1])  # time with rate, time with covariates
        kernels, units = zip(*(unit_kernel(centred(part @ part.mT)) for part in parts), strict=True)
        for share in SHARES:
            kernel = share * kernels[0] + (1 - share) * kernels[1]
            each = left_out_errors(kernel, (change - change.mean())[:, None], members)
            for penalty, residual, dual in zip(PENALTIES, *each, strict=True):
                error = residual.abs().mean().item()
                if error < best and (not share or parts[0][:, -1] @ dual[:, 0] >= 0):
                    best, errors, least = error, residual[:, 0], penalty
                    self.share.fill_(share)
        strengths = [(weight / unit).sqrt() for weight, unit in zip((self.share, 1 - self.share), units, strict=True)]
        scanned, tabulated = _ridge([part * strength for part, strength in zip(parts, strengths, strict=True)], change, least)
        self.slope.zero_()
        self.slope[[0, -1]] += strengths[0] * scanned
        self.slope[:-1] += strengths[1] * tabulated
        self.constant.copy_((change - features @ self.slope).mean())
        self.spread.copy_(self.spread.new_tensor(_spread(known[:, 0].cpu().numpy(), errors.cpu().numpy())))
        self.fitted.fill_(True)

    def _rates(self, field: SampledField, target: Tensor, patients: Tensor) -> Tensor:
        """Fit the first model; the rates that it predicts for patients who are left out, ``[B]``.

        The mean rate is that of all scans, see :func:`~monai_cpic.networks.readouts.score.with_common_mean`.  For the same reason
        the second model takes no rate with a negative sign (L. Breiman, Stacked regressions, Machine Learning 24, 1996).
        """
        left_out = self.rate.fit(field, target, patients=patients)
        return with_common_mean(left_out, target, patients)[:, 0]

    def _checked(self, covariates: Tensor | None, rows: int) -> Tensor:
        if covariates is None:
            return self.slope.new_zeros(rows, self.covariates)
        if covariates.shape[1] != self.covariates:
            raise ValueError(f"the readout takes {self.covariates} covariates, the time first, got {covariates.shape[1]}")
        return covariates.to(self.slope)

    def _products(self, covariates: Tensor, rates: Tensor) -> Tensor:
        """The time, and its products with the other covariates and with the rate, ``[R, covariates + 1]``."""
        return covariates[:, :1] * torch.cat([torch.ones_like(rates)[:, None], covariates[:, 1:], rates[:, None]], 1)

    def _features(self, covariates: Tensor, rates: Tensor) -> Tensor:
        return self._products(covariates, rates) / self.scale


def _ridge(parts: Sequence[Tensor], target: Tensor, penalty: float) -> tuple[Tensor, ...]:
    """Weights of the columns of each part in the ridge regression on all of them."""
    columns = torch.cat([part - part.mean(0) for part in parts], 1)
    normal = columns.mT @ columns + penalty * torch.eye(columns.shape[1], dtype=columns.dtype, device=columns.device)
    weights = torch.linalg.solve(normal, columns.mT @ (target - target.mean()))
    return weights.split([part.shape[1] for part in parts])


def _laplace_quantiles(quantiles: Sequence[float]) -> Tensor:
    """Quantiles of the Laplace distribution around 0 whose quantiles 0.2 and 0.8 are 1 apart.

    Raises:
        ValueError: if they do not increase, or do not lie between 0 and 1.
    """
    levels = torch.tensor(tuple(quantiles), dtype=PRECISION)
    if not len(levels) or not ((levels > 0) & (levels < 1)).all() or not (levels.diff() > 0).all():
        raise ValueError(f"quantiles increase and lie between 0 and 1, got {tuple(quantiles)}")
    away = levels - 0.5
    return -away.sign() * torch.log1p(-2 * away.abs()) / (2 * math.log(2.5))


def _spread(time: NDArray[np.float64], errors: NDArray[np.float64]) -> tuple[float, float]:
    """The width at time 0, and its growth with the time, with the largest likelihood."""

    def loss(parameters: NDArray[np.float64]) -> float:
        width = np.hypot(parameters[0], parameters[1] * time).clip(SMALLEST_SPREAD)
        return float((math.sqrt(2) * np.abs(errors) / width + np.log(width)).mean())

    typical = max(math.sqrt(2) * np.abs(errors).mean(), SMALLEST_SPREAD)  # the best constant width
    starts = ((typical, typical * share) for share in (0.1, 1.0))
    found = min((minimize(loss, start, method="Nelder-Mead") for start in starts), key=lambda result: result.fun)
    return abs(float(found.x[0])), abs(float(found.x[1]))
