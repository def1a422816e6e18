"""CSV files that a spreadsheet can open: no text of theirs runs as a formula."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from monai_cpic.staging import write_whole

__all__ = ["read_table", "write_table"]

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # how a text begins that spreadsheets compute
_MARK = "'"  # which makes it a text


def write_table(path: str | Path, table: pd.DataFrame) -> None:
    """Write a table as CSV, completely or not at all; missing folders are created.

    Spreadsheets compute texts such as ``=cmd|x``, also those of a file.  Such a text gets an apostrophe in front, and so does one
    that begins with an apostrophe, so that :func:`read_table` finds all texts as they were.  Numbers are written as they are.

    Reference: OWASP, "CSV Injection", https://owasp.org/www-community/attacks/CSV_Injection.

    Args:
        path: the file.
        table: texts and numbers.
    """
    with write_whole(Path(path)) as unfinished:
        table.map(_marked).to_csv(unfinished, index=False, lineterminator="\r\n")  # texts with one of both are quoted


def read_table(path: str | Path, patient: str = "patient") -> pd.DataFrame:
    """Read a table of :func:`write_table`, with all texts as they were.

    An empty cell is NaN, and ``NA`` is a text.  A column of nothing but numbers is one of numbers, except for the patients'.

    Args:
        path: the file.
        patient: the column that names the patients, such as ``"0012"``.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_table(f"{folder}/p.csv", pd.DataFrame({"patient": ["=1+1", "ID2"], "change": [-3.5, 2.0]}))
        ...     Path(f"{folder}/p.csv").read_text().splitlines(), read_table(f"{folder}/p.csv")["patient"].tolist()
        (['patient,change', "'=1+1,-3.5", 'ID2,2.0'], ['=1+1', 'ID2'])
    """
    return pd.read_csv(path, keep_default_na=False, na_values=[""], dtype={patient: str}).map(_unmarked)


def _marked(value: Any) -> Any:
    return _MARK + value if isinstance(value, str) and value.startswith((*_FORMULA, _MARK)) else value


def _unmarked(value: Any) -> Any:
    return value.removeprefix(_MARK) if isinstance(value, str) else value
