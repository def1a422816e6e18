"""Cross-validation by patient."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from monai.data import partition_dataset
from sklearn.model_selection import StratifiedGroupKFold

from monai_cpic.model_files.record import ALL_FOLDS

__all__ = ["folds", "set_aside", "training_part"]


def folds(
    cohort: Sequence[dict[str, Any]], n_folds: int = 5, fold: int = 0, seed: int = 0, trained_on: int | None = None
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Split a cohort by patient for cross-validation.

    Args:
        cohort: items as returned by :meth:`~monai_cpic.cohorts.base.Cohort.read`, with ``patient``; if they also have a
            ``stratum``, a whole number, each fold has about the same share of each stratum, and a patient may have several items.
        n_folds: number of folds; each patient is in the validation part of exactly one fold.
        fold: which fold is the validation part, 0 … ``n_folds`` - 1.
        seed: seed of the shuffle; equal seeds give equal folds.
        trained_on: so many patients of the training part, drawn at random, more of them including the fewer; None: all.

    Returns:
        The training part and the validation part.

    Raises:
        ValueError: when a patient occurs twice without strata, there are fewer patients than folds, ``fold`` does not exist, or
            there are not so many to train on.
    """
    patients = [item["patient"] for item in cohort]
    stratified = all("stratum" in item for item in cohort)
    if len(set(patients)) != len(cohort) and not stratified:
        raise ValueError("a patient occurs more than once in the cohort: folds are made by patient.")
    if not 2 <= n_folds <= len(set(patients)):
        raise ValueError(f"n_folds must be between 2 and the {len(set(patients))} patients, got {n_folds}.")
    if fold not in range(n_folds):
        raise ValueError(
            f"fold must be between 0 and {n_folds - 1}, got {fold}; to train all folds, give all_folds.yaml after train.yaml."
        )
    if stratified:
        splitter = StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed)
        strata = _joined([item["stratum"] for item in cohort], n_folds)
        rows, held_out = list(splitter.split(patients, strata, patients))[fold]
        training, validation = [cohort[k] for k in rows], [cohort[k] for k in held_out]
    else:
        parts = partition_dataset(cohort, num_partitions=n_folds, shuffle=True, seed=seed)
        training = [item for number, part in enumerate(parts) if number != fold for item in part]
        validation = list(parts[fold])
    return (training if trained_on is None else _drawn(training, trained_on, seed)), validation


def training_part(cohort: Sequence[dict[str, Any]], n_folds: int, fold: int | str, seed: int) -> list[dict[str, Any]]:
    """The training part of a fold, see :func:`folds`; with the fold ``"all"`` everybody."""
    return list(cohort) if fold == ALL_FOLDS else folds(cohort, n_folds, int(fold), seed)[0]


def set_aside(
    training: Sequence[dict[str, Any]], share: float, seed: int = 0
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Take some patients out of the training part, who choose among the epochs of a training.

    Args:
        training: the training part of :func:`folds`.
        share: of its patients that are set aside, 0 to 0.5: the first of ``round(1 / share)`` folds; 0: nobody.
        seed: of the shuffle.

    Returns:
        Those who train, and those who are set aside.

    Raises:
        ValueError: when the share is not between 0 and 0.5, or of so few patients nobody.
    """
    if not 0 <= share <= 0.5:
        raise ValueError(f"tuning, the share of the training patients who choose the epoch, lies between 0 and 0.5, got {share}.")
    if not share:
        return list(training), []
    patients = len({item["patient"] for item in training})
    if patients * share < 1:
        raise ValueError(
            f"tuning={share:g} of {patients} training patients is nobody: set it to {1 / patients:.2g} at least, or 0."
        )
    return folds(training, min(round(1 / share), patients), 0, seed)


def _drawn(training: Sequence[dict[str, Any]], patients: int, seed: int) -> list[dict[str, Any]]:
    """The items of some random patients."""
    names = sorted({item["patient"] for item in training})
    if not 1 <= patients <= len(names):
        raise ValueError(f"trained_on must be between 1 and the {len(names)} training patients, got {patients}.")
    drawn = set(np.random.default_rng(seed).permutation(names)[:patients].tolist())
    return [item for item in training if item["patient"] in drawn]


def _joined(strata: Sequence[int], n_folds: int) -> list[int]:
    """Strata of at least as many items as there are folds: smaller ones are joined with each other, or with the largest."""
    counts = Counter(strata)
    rare = {stratum for stratum, count in counts.items() if count < n_folds}
    enough = sum(counts[stratum] for stratum in rare) >= n_folds
    other = -1 if enough else counts.most_common(1)[0][0]
    return [other if stratum in rare else stratum for stratum in strata]
