"""Scores of predicted survival: those of the BraTS challenge, the concordance index and the Brier score."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.stats import spearmanr
from torch import Tensor

__all__ = ["CLASS_LIMITS", "concordance_index", "integrated_brier_score", "survival_classes", "survival_scores"]

CLASS_LIMITS = (300.0, 450.0)  # days: 10 and 15 months, as the challenge counts them


def survival_classes(days: Tensor) -> Tensor:
    """Classes of survival: short (0, less than 10 months), medium (1), long (2, more than 15 months), of 30 days each.

    Args:
        days: survival, any shape.

    Returns:
        int64, of the same shape.

    Example:
        >>> survival_classes(torch.tensor([299.0, 300.0, 450.0, 451.0]))
        tensor([0, 1, 1, 2])
    """
    short, long = CLASS_LIMITS
    return (days >= short).long() + (days > long).long()


def survival_scores(days: Tensor, days_true: Tensor) -> dict[str, float]:
    """The scores of the survival task of the BraTS challenge, which are defined for patients with gross total resection.

    Reference: S. Bakas et al., "Identifying the best machine learning algorithms for brain tumor segmentation, progression
    assessment, and overall survival prediction in the BRATS challenge", arXiv:1811.02629, 2018.

    Args:
        days: predicted survival, ``[N]``.
        days_true: survival of patients who died, ``[N]``.

    Returns:
        ``accuracy`` (of :func:`survival_classes`), ``MSE``, ``medianSE`` and ``stdSE`` (mean, median and standard deviation of
        the squared error, in days²) and ``SpearmanR``.  A score that is not defined is NaN: all without patients, the correlation
        for less than two patients or constant values.

    Raises:
        ValueError: when the shapes do not fit.

    Example:
        >>> survival_scores(torch.tensor([100.0, 400.0, 500.0]), torch.tensor([110.0, 380.0, 300.0]))["accuracy"]
        0.6666666865348816
    """
    _check(days, days_true)
    days, days_true = days.double(), days_true.double()
    squared = (days - days_true).square()
    ranked = min(len(set(days.tolist())), len(set(days_true.tolist()))) > 1
    return {
        "accuracy": (survival_classes(days) == survival_classes(days_true)).float().mean().item(),
        "MSE": squared.mean().item(),
        "medianSE": squared.quantile(0.5).item() if len(squared) else math.nan,
        "stdSE": squared.std(correction=0).item() if len(squared) else math.nan,
        "SpearmanR": float(spearmanr(days, days_true).statistic) if ranked else math.nan,
    }


def concordance_index(days: Tensor, days_true: Tensor, died: Tensor) -> float:
    """Harrell's concordance index: the share of correctly ordered pairs, among the pairs of which it is known who died first.

    A patient who was alive when last seen has lived longer than those who died until that day. Equal predictions count half.
    0.5 is chance, 1 is the best.

    Reference: F. E. Harrell et al., "Evaluating the yield of medical tests", JAMA 247(18), 1982.

    Args:
        days: predicted survival, ``[N]``; higher is longer.
        days_true: days until death, or until last seen, ``[N]``.
        died: bool ``[N]``; False: alive when last seen.

    Returns:
        The index; NaN if the order of no pair is known.

    Raises:
        ValueError: when the shapes do not fit.

    Example:
        >>> concordance_index(torch.tensor([1.0, 3.0, 2.0]), torch.tensor([10.0, 20.0, 30.0]), torch.tensor([True, True, False]))
        0.6666666666666666
    """
    _check(days, days_true)
    _check(died, days_true)
    first, second = days_true[:, None], days_true[None, :]
    known = died[:, None] & ((first < second) | ((first == second) & ~died[None, :]))
    if not known.any():
        return math.nan
    lead = days[None, :] - days[:, None]
    agreement = (lead > 0).double() + 0.5 * (lead == 0).double()
    return agreement[known].mean().item()


def integrated_brier_score(survival: ArrayLike, times: ArrayLike, days_true: ArrayLike, died: ArrayLike) -> float:
    """The Brier score of predicted survival curves, weighted for censoring and averaged over the time.

    At a time, the error of a patient is the difference between the predicted probability of surviving it and what happened (1 or
    0).  Patients who were censored before are left out; the others are weighted by the inverse of their probability of not being
    censored (Kaplan and Meier's estimate for these patients).  Times at which that probability is 0, since the patient who was
    seen last was censored before, are left out.  Between the times the score is linear.  0 is the best, and 0.25 that of a
    constant probability of 1/2.

    Reference: E. Graf et al., "Assessment and comparison of prognostic classification schemes for survival data", Statistics in
    Medicine 18, 1999.

    Args:
        survival: probabilities of surviving each time, ``[N, T]``.
        times: increasing, ``[T]``.
        days_true: days until death, or until last seen, ``[N]``.
        died: bool ``[N]``; False: alive when last seen.

    Returns:
        The score; NaN without patients, or if all times are beyond those that are known.

    Example:
        >>> integrated_brier_score([[1.0, 0.0], [0.5, 0.5]], [1.0, 3.0], [2.0, 4.0], [True, True])
        0.125
    """
    predicted, times, days, events = (
        np.asarray(survival, float),
        np.asarray(times, float),
        np.asarray(days_true),
        np.asarray(died),
    )
    if not len(days):
        return math.nan
    distinct, place = np.unique(days, return_inverse=True)
    at_risk = np.bincount(place)[::-1].cumsum()[::-1] - np.bincount(place, events)  # those who died that day are not censored
    censored = np.bincount(place, ~events)
    factors = 1 - censored / np.maximum(at_risk, 1)
    uncensored = np.concatenate([[1.0], factors.cumprod()])  # until before the first day, and after each
    defined = uncensored[np.searchsorted(distinct, times, side="right")] > 0
    predicted, times = predicted[:, defined], times[defined]
    if not len(times):
        return math.nan
    lived = days[:, None] > times
    known = lived | (events[:, None] & ~lived)
    weight = np.where(lived, uncensored[np.searchsorted(distinct, times, side="right")], uncensored[place][:, None])
    errors = np.where(known, np.square(predicted - lived) / np.where(known, weight, 1), 0).mean(0)
    if len(times) == 1:
        return float(errors[0])
    return float(np.trapezoid(errors, times) / (times[-1] - times[0]))


def _check(values: Tensor, days_true: Tensor) -> None:
    if days_true.ndim != 1 or values.shape != days_true.shape:
        raise ValueError(f"expected a value [N] for each patient, got {tuple(values.shape)} and {tuple(days_true.shape)}.")
    if values.is_floating_point() and not torch.isfinite(values).all():
        raise ValueError(f"{(~torch.isfinite(values)).sum().item()} of {len(values)} predictions are NaN or infinite.")
