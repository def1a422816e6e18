"""Reading tables of any kind as text, and text as numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from monai_cpic.cohorts.tables import Problems

__all__ = ["are_numbers", "numbers", "read_table"]

SEPARATORS = {".csv": ",", ".tsv": "\t"}
EXCEL = (".xlsx", ".xls", ".ods")
MOSTLY = 0.9  # a column is one of numbers if so many of its entries are: the others are then mistakes


def read_table(path: str | Path) -> pd.DataFrame:
    """Read a table with a header: ``.csv``, ``.tsv``, or the first sheet of ``.xlsx``, ``.xls`` or ``.ods``.

    Args:
        path: the file.

    Returns:
        All columns as text without spaces around it, indexed by the line number in the file (1 is the header).  Entries such as
        ``NA``, ``n/a`` and ``NaN`` are empty texts.

    Raises:
        FileNotFoundError: when the file does not exist.
        ValueError: when it cannot be read, or has no lines.
        ImportError: when pandas lacks the package that reads this kind of file; the message names it.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: name the table of your cohort (table), with one row for each scan.")
    suffix = path.suffix.lower()
    try:
        if suffix in EXCEL:
            table = pd.read_excel(path, dtype=str)
        elif suffix in SEPARATORS:
            table = pd.read_csv(path, sep=SEPARATORS[suffix], dtype=str, encoding="utf-8-sig", skip_blank_lines=False)
            if not isinstance(table.index, pd.RangeIndex):
                raise ValueError("lines have more entries than the header")
        else:
            raise ValueError(f"its name must end with one of {', '.join((*SEPARATORS, *EXCEL))}")
    except ValueError as error:  # pandas' errors of parsing and of decoding are such
        raise ValueError(f"{path} cannot be read as a table: {error}") from error
    table.columns = table.columns.str.strip()
    table = table.fillna("").apply(lambda column: column.str.strip())
    table.index = pd.RangeIndex(2, len(table) + 2)
    table = table[(table != "").any(axis=1)]
    if table.empty:
        raise ValueError(f"{path}: there is no line below the header.")
    return table


def check_columns(path: str | Path, table: pd.DataFrame, wanted: Sequence[str]) -> None:
    """Check that a table has some columns.

    Raises:
        ValueError: if it lacks one, or two have the same name; the message names the columns that there are.
    """
    if missing := [name for name in wanted if name not in table.columns]:
        raise ValueError(f"{path}: no column {', '.join(missing)}; the header names {', '.join(table.columns)}.")
    if repeated := sorted({name for name in wanted if list(table.columns).count(name) > 1}):
        raise ValueError(f"{path}: two columns have the name {', '.join(repeated)}; rename one of them.")


def are_numbers(column: pd.Series) -> bool:
    """Whether a column of text is meant to be one of numbers, some of which may be missing or mistyped."""
    known = column[column != ""]
    return len(known) > 0 and pd.to_numeric(known, errors="coerce").notna().mean() >= MOSTLY


def numbers(column: pd.Series, problems: Problems) -> pd.Series:
    """A column of text as float64, NaN where it is empty; what is neither is added to the problems."""
    values = pd.to_numeric(column, errors="coerce").astype(float)
    problems.add((column != "") & ~values.abs().lt(float("inf")), str(column.name), "expected a number, or nothing")
    return values
