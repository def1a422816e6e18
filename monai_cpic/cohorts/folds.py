"""Cross-validation by patient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from monai.data import partition_dataset


def folds(
    cohort: Sequence[dict[str, Any]], n_folds: int = 5, fold: int = 0, seed: int = 0
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Split a cohort by patient for cross-validation.

    Args:
        cohort: items with ``patient``, one per patient, as returned by :meth:`~monai_cpic.cohorts.base.Cohort.read`.
        n_folds: number of folds; each patient is in the validation part of exactly one fold.
        fold: which fold is the validation part, 0 … ``n_folds`` - 1.
        seed: seed of the shuffle; equal seeds give equal folds.

    Returns:
        The training part and the validation part.

    Raises:
        ValueError: when a patient occurs twice, there are fewer patients than folds, or ``fold`` does not exist.
    """
    if len({item["patient"] for item in cohort}) != len(cohort):
        raise ValueError("a patient occurs more than once in the cohort: folds are made by patient.")
    if not 2 <= n_folds <= len(cohort):
        raise ValueError(f"n_folds must be between 2 and the {len(cohort)} patients, got {n_folds}.")
    if not 0 <= fold < n_folds:
        raise ValueError(f"fold must be between 0 and {n_folds - 1}, got {fold}.")
    parts = partition_dataset(cohort, num_partitions=n_folds, shuffle=True, seed=seed)
    training = [item for number, part in enumerate(parts) if number != fold for item in part]
    return training, list(parts[fold])
