"""The visits table of the OSIC challenge: read, checked line by line, one row per patient and week."""

from __future__ import annotations

import csv
import logging
import math
from pathlib import Path

import pandas as pd

logger = logging.getLogger(__name__)

COLUMNS = ("Patient", "Weeks", "FVC", "Percent", "Age", "Sex", "SmokingStatus")
SEXES = ("Female", "Male")
SMOKING = ("Never smoked", "Ex-smoker", "Currently smokes")
_POSITIVE = ("FVC", "Percent", "Age")
_CONSTANT = ("Age", "Sex", "SmokingStatus")
_SHOWN = 20  # problems listed in one error message


def read_lines(path: Path) -> pd.DataFrame:
    """Read ``train.csv`` or ``test.csv`` as it stands.

    Args:
        path: the CSV file; it must hold :data:`COLUMNS`, further columns are ignored.

    Returns:
        The columns as text, indexed by the line number in the file.

    Raises:
        FileNotFoundError: when the file does not exist.
        ValueError: when a column is missing, or a line has more or fewer fields than the header.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: dataset_dir must hold the OSIC tables and scan folders.")
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, restkey="surplus", skipinitialspace=True)
        missing = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
        if missing:
            raise ValueError(f"{path}: no column {', '.join(missing)}; the header must name {', '.join(COLUMNS)}.")
        lines: list[int] = []
        rows: list[list[str]] = []
        for row in reader:
            if "surplus" in row or None in row.values():
                raise ValueError(
                    f"{path}, line {reader.line_num}, patient {row['Patient']}: "
                    f"the number of fields differs from the header's {len(reader.fieldnames or ())}."
                )
            lines.append(reader.line_num)
            rows.append([row[column].strip() for column in COLUMNS])
    return pd.DataFrame(rows, columns=list(COLUMNS), index=lines, dtype=str)


def check_visits(path: Path, lines: pd.DataFrame) -> pd.DataFrame:
    """Check every line of the table and return it with numbers for text.

    Lines of one patient and week are averaged (FVC and Percent), with a warning that names them.

    Args:
        path: where the lines come from, for messages.
        lines: lines of :func:`read_lines`, all or some.

    Returns:
        One row per patient and week, sorted by both, with exactly :data:`COLUMNS`; Weeks is int, FVC (ml), Percent
        (of the normal FVC) and Age (years) are float.

    Raises:
        ValueError: when there are no lines, or some are broken: a missing patient, a number that is not one (or not
            positive), an unknown Sex or SmokingStatus, an Age, Sex or SmokingStatus that differs between the lines of
            a patient. All broken entries are named at once.
    """
    if lines.empty:
        raise ValueError(f"{path}: no visits in the table, or none left after the exclusions.")
    problems: list[str] = []

    def report(bad: pd.Series, column: str, expected: str) -> None:
        for line, row in lines[bad].iterrows():
            problems.append(f"line {line}, patient {row['Patient'] or '(none)'}: {column} is {row[column]!r}, {expected}")

    numbers = lines[["Weeks", *_POSITIVE]].apply(pd.to_numeric, errors="coerce").astype(float)
    visits = lines.assign(**{column: numbers[column] for column in numbers})
    finite = numbers.map(math.isfinite)
    report(visits["Patient"] == "", "Patient", "expected a name")
    report(~finite["Weeks"] | (numbers["Weeks"] % 1 != 0), "Weeks", "expected a whole number")
    for column in _POSITIVE:
        report(~finite[column] | (numbers[column] <= 0), column, "expected a positive number")
    report(~visits["Sex"].isin(SEXES), "Sex", f"expected one of {', '.join(SEXES)}")
    report(~visits["SmokingStatus"].isin(SMOKING), "SmokingStatus", f"expected one of {', '.join(SMOKING)}")
    for column in _CONSTANT:
        first = visits.groupby("Patient")[column].transform("first")
        report((visits[column] != first) & visits[column].notna(), column, "not what the patient's first line says")
    if problems:
        hidden = [f"and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
        raise ValueError(
            f"{path}: {len(problems)} broken entries. Correct them, or leave the patients out with exclude=[...]:\n  "
            + "\n  ".join(problems[:_SHOWN] + hidden)
        )
    return _average_duplicates(path, visits.astype({"Weeks": int}))


def _average_duplicates(path: Path, visits: pd.DataFrame) -> pd.DataFrame:
    keys = ["Patient", "Weeks"]
    repeated = visits[visits.duplicated(keys)][keys].drop_duplicates()
    if len(repeated):
        named = ", ".join(f"{patient} week {week}" for patient, week in repeated.itertuples(index=False))
        logger.warning("%s: %d visits given more than once were averaged: %s.", path, len(repeated), named)
    how = {"FVC": "mean", "Percent": "mean", "Age": "first", "Sex": "first", "SmokingStatus": "first"}
    return visits.groupby(keys, sort=True, as_index=False).agg(how)
