"""Reading tables of any kind as text, and text as numbers."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Collection, Sequence
from pathlib import Path
from zipfile import BadZipFile

import pandas as pd

from monai_cpic.cohorts.tables import Problems, known_exclusions, utf8_text

__all__ = ["SUFFIXES", "are_numbers", "check_unmixed", "cohort_lines", "numbers", "read_table", "with_target"]

logger = logging.getLogger(__name__)

SEPARATORS = {".csv": ",", ".tsv": "\t"}
EXCEL = (".xlsx", ".xls", ".ods")
SUFFIXES = (*SEPARATORS, *EXCEL)
"""Of the names of tables, in lower case."""

MISSING = ("#N/A", "#NA", "<NA>", "N/A", "NA", "NULL", "NaN", "n/a", "nan", "null")  # not None, which may be a class
MOSTLY = 0.9  # a column is one of numbers if so many of its entries are: the others are then mistakes
MIXED = 0.5  # from this share of numbers on a column is neither one of numbers nor one of texts
DECIMAL_COMMA = r"[-+]?\d+,\d+"


def read_table(path: str | Path) -> pd.DataFrame:
    """Read a table with a header: ``.csv``, ``.tsv``, or the first sheet of ``.xlsx``, ``.xls`` or ``.ods``.

    Args:
        path: the file.

    Returns:
        All columns as text without spaces around it, indexed by the line number in the file (1 is the header).  Entries such as
        ``NA``, ``n/a`` and ``NaN`` are empty texts.

    Raises:
        FileNotFoundError: when the file does not exist.
        ValueError: when it cannot be read, a line has more or fewer fields than the header, or there are no lines.
        ImportError: when pandas lacks the package that reads this kind of file; the message names it.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: name the table of your cohort (table), with one row for each scan.")
    suffix = path.suffix.lower()
    if suffix in EXCEL:
        try:
            table = pd.read_excel(path, header=None, dtype=str, keep_default_na=False).fillna("")
        except (BadZipFile, ValueError) as error:
            raise ValueError(f"{path} cannot be read as a table: {error}") from error
        table.index += 1
    elif suffix in SEPARATORS:
        table = _read_text(path, SEPARATORS[suffix])
    else:
        raise ValueError(f"{path} cannot be read as a table: its name must end with one of {', '.join(SUFFIXES)}")
    table = table.apply(lambda column: column.str.strip()).replace(list(MISSING), "")
    table = table[(table != "").any(axis=1)]
    if len(table) < 2:
        raise ValueError(f"{path}: there is no line below the header.")
    return table.iloc[1:].set_axis(table.iloc[0].tolist(), axis=1)  # pandas' own headers rename columns that are there twice


def _read_text(path: Path, separator: str) -> pd.DataFrame:
    """All fields, indexed by the line number in the file; pandas would pad a line that is too short."""
    reader = csv.reader(io.StringIO(utf8_text(path), newline=""), delimiter=separator, skipinitialspace=True)
    rows: list[list[str]] = []
    lines: list[int] = []
    try:
        for row in reader:
            if not any(field.strip() for field in row):
                continue
            if rows and len(row) != len(rows[0]):
                raise ValueError(
                    f"{path} cannot be read as a table: line {reader.line_num} has {len(row)} fields, the header has "
                    f"{len(rows[0])}; texts with {separator!r} need quotation marks."
                )
            rows.append(row)
            lines.append(reader.line_num)
    except csv.Error as error:
        raise ValueError(
            f"{path} cannot be read as a table: line {reader.line_num}: {error}; a quotation mark may be open there or before."
        ) from error
    return pd.DataFrame(rows, index=lines, dtype=str)


def cohort_lines(
    path: Path, patient: str | None, columns: Sequence[str], exclude: Collection[str], optional: Sequence[str] = ()
) -> pd.DataFrame:
    """The lines of a table (:func:`read_table`) without those of excluded patients.

    Args:
        path: the file.
        patient: name of the column of patients; None: the first.
        columns: names of further columns.
        exclude: patients to leave out.
        optional: columns that the table may lack; they are then empty.

    Returns:
        The column of patients, then the others.

    Raises:
        FileNotFoundError: when the file does not exist.
        ValueError: when it cannot be read, lacks a column, has one twice or a line without a patient, or no line is left.
    """
    table = read_table(path)
    first = patient or str(table.columns[0])
    if not first:
        raise ValueError(
            f"{path}: the first column has no name, as if pandas had written its index: say which column names the patients "
            "(--patient, or patient_column)."
        )
    table = table.assign(**{name: "" for name in optional if name not in table})
    wanted = list(dict.fromkeys([first, *columns, *optional]))
    _check_columns(path, table, wanted)
    lines = table[wanted]
    problems = Problems(path, lines)
    problems.add(lines[first] == "", first, "expected a name")
    problems.raise_if_any()
    lines = lines[~lines[first].isin(known_exclusions(exclude, set(lines[first]), path))]
    if lines.empty:
        raise ValueError(f"{path}: no line is left after the exclusions.")
    return lines


def with_target(path: Path, lines: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """The lines with a target; the others are counted and logged.

    Args:
        path: of the table, for messages.
        lines: of :func:`cohort_lines`.
        columns: that hold the target.

    Raises:
        ValueError: when all are without.
    """
    known = (lines[list(columns)] != "").all(axis=1)
    if not known.any():
        raise ValueError(f"{path}: the target {', '.join(columns)} is empty in all {len(lines)} lines.")
    if not known.all():
        logger.warning("%s: %d of %d lines have no %s and are left out.", path, (~known).sum(), len(lines), columns[0])
    return lines[known]


def are_numbers(column: pd.Series) -> bool:
    """Whether a column of text is meant to be one of numbers, some of which may be missing or mistyped."""
    known = column[column != ""]
    return len(known) > 0 and pd.to_numeric(known, errors="coerce").notna().mean() >= MOSTLY


def check_unmixed(path: Path, column: pd.Series) -> None:
    """Refuse a column of which it is not clear whether it is one of numbers or one of texts.

    Args:
        path: of the table, for the message.
        column: of text.

    Raises:
        ValueError: if it has decimal commas, or numbers in half of its entries and more, but not in nearly all.
    """
    known = column[column != ""]
    texts = known[pd.to_numeric(known, errors="coerce").isna()]
    commas = texts[texts.str.fullmatch(DECIMAL_COMMA)]
    if len(commas):
        raise ValueError(
            f"{path}, line {commas.index[0]}: {column.name} is {commas.iloc[0]!r}: write numbers with a point, not a comma."
        )
    if MIXED <= 1 - len(texts) / max(len(known), 1) < MOSTLY:
        raise ValueError(
            f"{path}: the column {column.name!r} mixes numbers with {len(texts)} texts, such as {texts.iloc[0]!r} in line "
            f"{texts.index[0]}: leave empty what is missing, and write numbers alone, or texts alone (such as 'grade 1')."
        )


def numbers(column: pd.Series, problems: Problems) -> pd.Series:
    """A column of text as float64, NaN where it is empty; what is neither is added to the problems."""
    values = pd.to_numeric(column, errors="coerce").astype(float)
    problems.add((column != "") & ~values.abs().lt(float("inf")), str(column.name), "expected a number, or nothing")
    return values


def _check_columns(path: Path, table: pd.DataFrame, wanted: Sequence[str]) -> None:
    if missing := [name for name in wanted if name not in table.columns]:
        raise ValueError(f"{path}: no column {', '.join(missing)}; the header names {', '.join(table.columns)}.")
    if repeated := [name for name in wanted if (table.columns == name).sum() > 1]:
        raise ValueError(f"{path}: more than one column {', '.join(repeated)}; leave the right one of them in the table.")
