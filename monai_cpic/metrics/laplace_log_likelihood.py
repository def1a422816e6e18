"""The modified Laplace log-likelihood, the score of the OSIC challenge."""

from __future__ import annotations

import math
from typing import Any

import torch
from monai.metrics import CumulativeIterationMetric

__all__ = ["LaplaceLogLikelihood", "laplace_log_likelihood"]

SMALLEST_SIGMA = 70.0  # ml, about the measurement error of a spirometer: more confidence is not rewarded
LARGEST_ERROR = 1000.0  # ml: larger errors are not penalised further


def laplace_log_likelihood(fvc_true: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    r"""Score each row: :math:`-\sqrt2\,\Delta/\sigma - \ln(\sqrt2\,\sigma)`; higher is better.

    :math:`\sigma` is q80 - q20, at least 70 ml; :math:`\Delta` is \|FVC - q50\|, at most 1000 ml. The best
    possible score is :math:`-\ln(70\sqrt2)` = -4.595.

    Reference: Kaggle, "OSIC Pulmonary Fibrosis Progression", evaluation, 2020.

    Args:
        fvc_true: measured FVC in ml, shape [N]; NaN where it was not measured.
        q: predicted 0.2, 0.5 and 0.8 quantiles in ml, shape [N, 3].

    Returns:
        The score of each row, shape [N]; NaN where FVC was not measured.

    Raises:
        ValueError: when the shapes do not fit, or a prediction is not finite.

    Example:
        >>> laplace_log_likelihood(torch.tensor([2500.0]), torch.tensor([[2480.0, 2500.0, 2520.0]]))
        tensor([-4.5951])
    """
    if fvc_true.ndim != 1 or q.shape != (*fvc_true.shape, 3):
        raise ValueError(f"fvc_true must be [N] and q [N, 3], got {tuple(fvc_true.shape)} and {tuple(q.shape)}.")
    if not torch.isfinite(q).all():
        rows = (~torch.isfinite(q).all(dim=1)).sum().item()
        raise ValueError(f"{rows} of {len(q)} predictions are NaN or infinite: the network has diverged.")
    low, median, high = q.unbind(dim=1)
    sigma = (high - low).clamp(min=SMALLEST_SIGMA)
    error = (fvc_true - median).abs().clamp(max=LARGEST_ERROR)
    return -math.sqrt(2) * error / sigma - torch.log(math.sqrt(2) * sigma)


class LaplaceLogLikelihood(CumulativeIterationMetric):
    """The OSIC score averaged over all visits seen since the last ``reset()``; higher is better.

    Every visit counts once, however visits are distributed over patients, batches or processes. Visits whose FVC is
    NaN (not measured) do not count. :py:func:`laplace_log_likelihood` gives the formula and the units (ml).

    Called as ``metric(y_pred, y)``, with tensors ``y_pred`` [..., 3] and ``y`` [...] or [..., 1], or with lists of
    them (one item per patient, with any number of visits each). In an ignite engine, wrap it:
    ``IgniteMetricHandler(metric_fn=LaplaceLogLikelihood(), output_transform=...)`` from ``monai.handlers``.

    Example:
        >>> metric = LaplaceLogLikelihood()
        >>> _ = metric(y_pred=torch.tensor([[2480.0, 2500.0, 2520.0]]), y=torch.tensor([2500.0]))
        >>> metric.aggregate()
        tensor(-4.5951)
        >>> metric.reset()
    """

    def _compute_tensor(self, y_pred: torch.Tensor, y: torch.Tensor | None = None, **kwargs: Any) -> torch.Tensor:
        """Flatten to rows and score them; returns [N, 1], as MONAI's buffers expect a channel dimension."""
        if y is None:
            raise ValueError("the OSIC score needs the measured FVC as y.")
        return laplace_log_likelihood(y.reshape(-1), y_pred.reshape(-1, y_pred.shape[-1])).unsqueeze(1)

    def aggregate(self) -> torch.Tensor:
        """Mean score over all measured visits, a scalar tensor; NaN if none of them was measured.

        Raises:
            ValueError: when no prediction has been added since the last ``reset()``.
        """
        scores: torch.Tensor | None = self.get_buffer()
        if scores is None:
            raise ValueError("the OSIC score has nothing to aggregate: call the metric on predictions first.")
        return torch.nanmean(scores)
