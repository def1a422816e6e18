"""The survival table of the BraTS 2020 challenge, checked line by line; one row per patient."""

from __future__ import annotations

import logging
import math
from pathlib import Path

import pandas as pd

from monai_cpic.cohorts.tables import Problems, is_no_name, read_lines

logger = logging.getLogger(__name__)

COLUMNS = ("Brats20ID", "Age", "Survival_days", "Extent_of_Resection")
RESECTIONS = ("GTR", "STR", "NA")
"""Gross total and subtotal resection; ``NA`` means that the extent is not known."""

_OLDEST, _LONGEST = 150, 36_525  # years, days: a larger number is a mistake
_SYNONYMS = {"BraTS20ID": "Brats20ID", "ResectionStatus": "Extent_of_Resection"}  # in the validation set's table
_ALIVE = r"(?i)^ALIVE \((\d+) days later\)$"


def read_survival_lines(path: Path) -> pd.DataFrame:
    """Read ``survival_info.csv``, or ``survival_evaluation.csv``, which has other column names and no survival.

    Args:
        path: the CSV file.

    Returns:
        :data:`COLUMNS` as text, indexed by the line number in the file.

    Raises:
        FileNotFoundError: when the file does not exist.
        ValueError: when a column is missing, or a line has more or fewer fields than the header.
    """
    return read_lines(path, COLUMNS, optional=("Survival_days",), synonyms=_SYNONYMS)


def check_survival(path: Path, lines: pd.DataFrame, alive: str | float = "exclude", known: bool = True) -> pd.DataFrame:
    """Check every line of the table and convert text to numbers.

    A survival of ``ALIVE (361 days later)`` means that the patient was alive when last seen.  The number of such patients and
    their treatment are logged.

    Args:
        path: path of the table, for messages.
        lines: lines of :func:`read_survival_lines`, all or some.
        alive: ``"exclude"`` leaves living patients out, ``"censored"`` keeps them with the number of days until they were last
            seen, and a number is used as their survival in days.
        known: require every survival; otherwise an empty entry means that it is unknown.

    Returns:
        One row per patient, sorted by name: ``Brats20ID``, ``Age`` (float, years), ``Survival_days`` (float, NaN where unknown),
        ``Extent_of_Resection`` (one of :data:`RESECTIONS`) and ``died`` (bool; False where the survival is a lower bound or
        unknown).

    Raises:
        ValueError: when there are no lines, or none is left; when ``alive`` is none of the above, or less than the number of days
            that a patient has already lived; or when lines are broken: a missing or repeated patient, an age or survival that is
            not a positive number or impossibly large, an unknown extent of resection.  The message names all broken entries.
    """
    if alive not in ("exclude", "censored") and (isinstance(alive, (str, bool)) or not 0 < alive < math.inf):
        raise ValueError(f"alive must be 'exclude', 'censored' or a positive number of days, got {alive!r}.")
    if lines.empty:
        raise ValueError(f"{path}: no patients in the table, or none left after the exclusions.")
    problems = Problems(path, lines)
    last_seen = lines["Survival_days"].str.extract(_ALIVE)[0].astype(float)
    days = pd.to_numeric(lines["Survival_days"], errors="coerce").astype(float)
    age = pd.to_numeric(lines["Age"], errors="coerce").astype(float)
    unknown = pd.Series(not known, index=lines.index) & (lines["Survival_days"] == "")
    living = last_seen <= _LONGEST
    problems.add(is_no_name(lines["Brats20ID"]), "Brats20ID", "expected a name without slashes")
    repeated = lines["Brats20ID"].duplicated() & (lines["Brats20ID"] != "")
    problems.add(repeated, "Brats20ID", "which an earlier line has, too")
    problems.add(~age.between(0, _OLDEST, inclusive="right"), "Age", f"expected a positive number up to {_OLDEST}")
    measured = days.between(0, _LONGEST, inclusive="right")
    expected = f"expected a positive number of days or 'ALIVE (N days later)', up to {_LONGEST} days"
    problems.add(~(measured | living | unknown), "Survival_days", expected)
    problems.add(
        ~lines["Extent_of_Resection"].isin(RESECTIONS), "Extent_of_Resection", f"expected one of {', '.join(RESECTIONS)}"
    )
    if not isinstance(alive, str):
        problems.add(last_seen > alive, "Survival_days", f"more than alive={alive:g} days")
    problems.raise_if_any()

    table = lines.assign(Age=age, Survival_days=days.where(~living, last_seen), died=~living & ~unknown)
    if not isinstance(alive, str):
        table = table.assign(Survival_days=table["Survival_days"].where(~living, float(alive)), died=table["died"] | living)
    if living.any():
        fates = {"exclude": "left out", "censored": "kept as censored"}
        fate = fates[alive] if isinstance(alive, str) else f"taken to have died after {alive:g} days"
        logger.warning(
            "%s: %d of %d patients are alive, %s: %s.",
            path,
            living.sum(),
            len(lines),
            fate,
            ", ".join(lines["Brats20ID"][living]),
        )
    table = table[~living] if alive == "exclude" else table
    if table.empty:
        raise ValueError(f"{path}: all {len(lines)} patients are alive; keep them with alive='censored'.")
    return table.sort_values("Brats20ID", ignore_index=True)
