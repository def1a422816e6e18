"""Where methods are compared: a target of a cohort, a fold, a seed, and a number of training patients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from monai_cpic.cohorts.csv_files import read_table
from monai_cpic.experiments.real.cohorts import RealCohort
from monai_cpic.experiments.runs import file_name

__all__ = ["FOLDS", "VALUE", "Place", "places", "table_of"]

FOLDS = 5
VALUE = "value"  # the target's name in tables of all targets


@dataclass(frozen=True)
class Place:
    """One split of a cohort's patients, in which each method predicts the held-out ones.

    Args:
        cohort: the cohort.
        target: what is predicted.
        fold: which of the five folds is held out.
        seed: of the weights and batches of trainings.
        trained_on: number of training patients; 0: all.
    """

    cohort: RealCohort
    target: str
    fold: int
    seed: int
    trained_on: int

    @property
    def names(self) -> dict[str, str | int]:
        """What tells it from others, as columns of a table."""
        return {
            "cohort": self.cohort.name,
            "target": self.target,
            "fold": self.fold,
            "seed": self.seed,
            "trained_on": self.trained_on,
        }

    def rows(self, method: str, seconds: float, table: pd.DataFrame) -> pd.DataFrame:
        """Predictions of a method for the held-out patients, as rows of a table of all.

        Args:
            method: its name.
            seconds: of processor time; NaN if that is not known.
            table: with ``patient``, the target (the prediction) and the target with ``_true``.

        Returns:
            The columns of :attr:`names`, ``method``, ``seconds``, ``patient``, ``value`` and ``value_true``.
        """
        columns = table[["patient", self.target, f"{self.target}_true"]].set_axis(["patient", VALUE, f"{VALUE}_true"], axis=1)
        return columns.assign(**self.names, method=method, seconds=seconds)


def places(
    cohorts: Sequence[RealCohort],
    output_dir: str | Path,
    folds: Sequence[int] = range(FOLDS),
    seeds: int = 1,
    trained_on: Sequence[int] = (),
) -> list[Place]:
    """All places, seed by seed and fold by fold, so that all methods are soon known on some patients.

    Args:
        cohorts: the cohorts, whose tables are in ``tables`` in ``output_dir``, see :func:`table_of`.
        output_dir: folder of the comparison.
        folds: which of the five folds are held out, one after the other.
        seeds: number of seeds, 0 … ``seeds`` - 1.
        trained_on: numbers of training patients, beside all of them; numbers that a target does not have are left out.
    """
    output = Path(output_dir).absolute()
    return [
        Place(cohort, target, fold, seed, number)
        for seed in range(seeds)
        for fold in folds
        for cohort in cohorts
        for target in cohort.targets
        for number in (0, *_fewer(cohort, target, output, trained_on))
    ]


def table_of(cohort: RealCohort, target: str, output_dir: Path) -> Path:
    """The file of :meth:`RealCohort.write_table`."""
    return output_dir / "tables" / file_name(cohort.name) / f"{file_name(target)}.csv"


def _fewer(cohort: RealCohort, target: str, output: Path, trained_on: Sequence[int]) -> list[int]:
    """Those numbers of patients of which a target has more in every training part."""
    patients = len(read_table(table_of(cohort, target, output))) if trained_on else 0
    return [number for number in trained_on if number < patients * (FOLDS - 1) // FOLDS]
