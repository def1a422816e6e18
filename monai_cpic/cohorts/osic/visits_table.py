"""The visits table of the OSIC challenge, checked line by line; one row per patient and week."""

from __future__ import annotations

import logging
import math
from pathlib import Path

import pandas as pd

from monai_cpic.cohorts.tables import Problems, is_no_name

logger = logging.getLogger(__name__)

COLUMNS = ("Patient", "Weeks", "FVC", "Percent", "Age", "Sex", "SmokingStatus")
SEXES = ("Female", "Male")
SMOKING = ("Never smoked", "Ex-smoker", "Currently smokes")
LONGEST = 5200
"""Weeks from the table's week 0, a century: a larger number is a mistake."""

_LARGEST = {"FVC": 20_000, "Percent": 1000, "Age": 150}  # of these positive numbers
_CONSTANT = ("Age", "Sex", "SmokingStatus")


def check_visits(path: Path, lines: pd.DataFrame) -> pd.DataFrame:
    """Check every line of the table and convert text to numbers.

    Several lines of the same patient and week are averaged (FVC and Percent), with a warning that names them.

    Args:
        path: path of the table, for messages.
        lines: lines of :func:`~monai_cpic.cohorts.tables.read_lines`, all or some.

    Returns:
        One row per patient and week, sorted by both, with exactly :data:`COLUMNS`; Weeks is int, FVC (ml), Percent
        (of the normal FVC) and Age (years) are float.

    Raises:
        ValueError: when there are no lines, or some are broken: a missing patient, an entry that is not a number, not positive or
            impossibly large, an unknown Sex or SmokingStatus, or an Age, Sex or SmokingStatus that differs between the lines of a
            patient.  The message names all broken entries.
    """
    if lines.empty:
        raise ValueError(f"{path}: no visits in the table, or none left after the exclusions.")
    problems = Problems(path, lines)
    numbers = lines[["Weeks", *_LARGEST]].apply(pd.to_numeric, errors="coerce").astype(float)
    visits = lines.assign(**{column: numbers[column] for column in numbers})
    finite = numbers.map(math.isfinite)
    problems.add(is_no_name(visits["Patient"]), "Patient", "expected a name without slashes")
    whole = finite["Weeks"] & (numbers["Weeks"] % 1 == 0) & (numbers["Weeks"].abs() <= LONGEST)
    problems.add(~whole, "Weeks", f"expected a whole number up to {LONGEST}")
    for column, largest in _LARGEST.items():
        problems.add(
            ~numbers[column].between(0, largest, inclusive="right"), column, f"expected a positive number up to {largest}"
        )
    problems.add(~visits["Sex"].isin(SEXES), "Sex", f"expected one of {', '.join(SEXES)}")
    problems.add(~visits["SmokingStatus"].isin(SMOKING), "SmokingStatus", f"expected one of {', '.join(SMOKING)}")
    for column in _CONSTANT:
        first = visits.groupby("Patient")[column].transform("first")
        problems.add((visits[column] != first) & visits[column].notna(), column, "not what the patient's first line says")
    problems.raise_if_any()
    return _average_duplicates(path, visits.astype({"Weeks": int}))


def _average_duplicates(path: Path, visits: pd.DataFrame) -> pd.DataFrame:
    keys = ["Patient", "Weeks"]
    repeated = visits[visits.duplicated(keys)][keys].drop_duplicates()
    if len(repeated):
        named = ", ".join(f"{patient} week {week}" for patient, week in repeated.itertuples(index=False))
        logger.warning("%s: %d visits given more than once were averaged: %s.", path, len(repeated), named)
    how = {"FVC": "mean", "Percent": "mean", "Age": "first", "Sex": "first", "SmokingStatus": "first"}
    return visits.groupby(keys, sort=True, as_index=False).agg(how)
