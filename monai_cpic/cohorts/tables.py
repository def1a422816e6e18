"""Reading CSV tables of cohorts as text, with errors that name the file, the line and the patient."""

from __future__ import annotations

import csv
import io
import logging
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import pandas as pd

logger = logging.getLogger(__name__)

_SHOWN = 10  # problems listed in one error message


def read_lines(
    path: Path, columns: Sequence[str], optional: Collection[str] = (), synonyms: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """Read a table with a header line.

    Args:
        path: the CSV file; other columns and empty lines are ignored.
        columns: names of the columns; the first one contains the patient.
        optional: columns that the file may lack; they are then empty.
        synonyms: alternative names of columns in the file, each with the corresponding name in ``columns``.

    Returns:
        The columns as text, indexed by the line number in the file.

    Raises:
        FileNotFoundError: when the file does not exist.
        ValueError: when a column is missing or there twice, a line has more or fewer fields than the header, or the file is not
            UTF-8 text in the format of a CSV table.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: dataset_dir must hold the cohort's tables and scans.")
    reader = csv.DictReader(io.StringIO(utf8_text(path), newline=""), restkey="surplus", skipinitialspace=True)
    lines: list[int] = []
    rows: list[list[str]] = []
    try:
        found = [(synonyms or {}).get(name, name) for name in reader.fieldnames or ()]
        names = dict(zip(found, reader.fieldnames or (), strict=True))
        missing = [column for column in columns if column not in names and column not in optional]
        if missing:
            raise ValueError(f"{path}: no column {', '.join(missing)}; the header must name {', '.join(columns)}.")
        repeated = [name for name, times in Counter(found).items() if times > 1 and name in columns]
        if repeated:
            raise ValueError(f"{path}: more than one column {', '.join(repeated)}; leave the right one of them in the table.")
        for row in reader:
            if "surplus" in row or None in row.values():
                raise ValueError(
                    f"{path}, line {reader.line_num}, patient {row[names[columns[0]]]}: "
                    f"the number of fields differs from the header's {len(found)}."
                )
            lines.append(reader.line_num)
            rows.append([row[names[column]].strip() if column in names else "" for column in columns])
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: {error}; a quotation mark may be open there or before.") from error
    return pd.DataFrame(rows, columns=list(columns), index=lines, dtype=str)


def utf8_text(path: Path) -> str:
    """The content of a file.

    Raises:
        ValueError: if it is not text in UTF-8.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text ({error}): save the table as CSV in UTF-8.") from error
    if "\0" in text:
        raise ValueError(f"{path} has zero bytes, as text in UTF-16 has: save the table as CSV in UTF-8.")
    return text


def is_no_name(patients: pd.Series) -> pd.Series:
    """Whether entries are not the name of a folder in the dataset: empty, or a path that leads elsewhere."""
    return patients.isin(["", ".", ".."]) | patients.str.contains(r"[/\\\x00-\x1f]")


class Problems:
    """Broken entries of a table, collected to be reported at once.

    Args:
        path: path of the table, for the message.
        lines: lines of :func:`read_lines`.
    """

    def __init__(self, path: Path, lines: pd.DataFrame) -> None:
        self.path = path
        self.lines = lines
        self.found: list[str] = []

    def add(self, bad: pd.Series, column: str, expected: str) -> None:
        """Add the entries of a column for which ``bad`` is true, with a description of what was expected."""
        for line, row in self.lines[bad].iterrows():
            patient = row.iloc[0] or "(none)"
            self.found.append(f"line {line}, patient {patient}: {column} is {row[column]!r}, {expected}")

    def raise_if_any(self) -> None:
        """Raise a ValueError that names the broken entries, if there are any."""
        if self.found:
            raise ValueError(
                f"{self.path}: {len(self.found)} broken entries. Correct them, or leave the patients out with exclude=[...]:\n  "
                f"{listed(self.found)}"
            )


def listed(problems: Sequence[str]) -> str:
    """The first problems, one a line, and the number of the others, for the end of an error message."""
    hidden = [f"and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
    return "\n  ".join([*problems[:_SHOWN], *hidden])


def known_exclusions(exclude: Collection[str], known: Collection[str], table: Path) -> list[str]:
    """Return the excluded patients, sorted, after checking that each exists and logging their names.

    Args:
        exclude: patients to leave out.
        known: all patients.
        table: path of the table, for messages.

    Raises:
        ValueError: when ``exclude`` is not a collection of names, or one is unknown.
    """
    if isinstance(exclude, str) or not all(isinstance(patient, str) for patient in exclude):
        raise ValueError(f"exclude must be a list of patients' names (in quotation marks), got {exclude!r}.")
    excluded = sorted(set(exclude))
    unknown = [patient for patient in excluded if patient not in known]
    if unknown:
        raise ValueError(f"{table}: exclude names unknown patients: {', '.join(unknown)}.")
    if excluded:
        logger.info("%s: %d patients left out as asked: %s.", table, len(excluded), ", ".join(excluded))
    return excluded
