"""Cross-validation by patient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from monai.data import partition_dataset
from sklearn.model_selection import StratifiedGroupKFold


def folds(
    cohort: Sequence[dict[str, Any]], n_folds: int = 5, fold: int = 0, seed: int = 0
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Split a cohort by patient for cross-validation.

    Args:
        cohort: items as returned by :meth:`~monai_cpic.cohorts.base.Cohort.read`, with ``patient``; if they also have a
            ``stratum``, each fold has about the same share of each stratum, and a patient may have several items.
        n_folds: number of folds; each patient is in the validation part of exactly one fold.
        fold: which fold is the validation part, 0 … ``n_folds`` - 1.
        seed: seed of the shuffle; equal seeds give equal folds.

    Returns:
        The training part and the validation part.

    Raises:
        ValueError: when a patient without a stratum occurs twice, there are fewer patients than folds, or ``fold`` does not exist.
    """
    patients = [item["patient"] for item in cohort]
    stratified = all("stratum" in item for item in cohort)
    if len(set(patients)) != len(cohort) and not stratified:
        raise ValueError("a patient occurs more than once in the cohort: folds are made by patient.")
    if not 2 <= n_folds <= len(set(patients)):
        raise ValueError(f"n_folds must be between 2 and the {len(set(patients))} patients, got {n_folds}.")
    if not 0 <= fold < n_folds:
        raise ValueError(f"fold must be between 0 and {n_folds - 1}, got {fold}.")
    if stratified:
        splitter = StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed)
        training, validation = list(splitter.split(patients, [item["stratum"] for item in cohort], patients))[fold]
        return [cohort[k] for k in training], [cohort[k] for k in validation]
    parts = partition_dataset(cohort, num_partitions=n_folds, shuffle=True, seed=seed)
    training = [item for number, part in enumerate(parts) if number != fold for item in part]
    return training, list(parts[fold])
