"""CSV tables: any text is read as it is, or refused with the file and the reason."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monai_cpic.cohorts.tables import known_exclusions, read_lines

COLUMNS = ("Patient", "Age")
TABLE = "Patient,Age\nJürgen,61\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "table.csv"


def refused(path: Path, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        read_lines(path, COLUMNS)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_utf_8_is_read(path: Path, encoding: str) -> None:
    path.write_text(TABLE, encoding=encoding)
    assert read_lines(path, COLUMNS).loc[2].tolist() == ["Jürgen", "61"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (TABLE.encode("latin-1"), "is not UTF-8 text"),
        (TABLE.encode("utf-16"), "is not UTF-8 text"),
        (TABLE.replace("ü", "u").encode("utf-16-le"), "as text in UTF-16 has"),
        (codecs.BOM_UTF8 + b"Patient,Age\nA,61\0\n", "zero bytes"),
    ],
)
def test_other_encodings_are_refused(path: Path, content: bytes, message: str) -> None:
    path.write_bytes(content)
    refused(path, f"{message}.*: save the table as CSV in UTF-8")


@pytest.mark.parametrize("where", ["header", "line"])
def test_a_field_that_never_ends_is_named(path: Path, where: str) -> None:
    endless = '"' + "x" * (csv.field_size_limit() + 1)
    path.write_text(f"Patient,{endless}" if where == "header" else f"Patient,Age\nA,61\nB,{endless}")
    refused(path, f"line {0 if where == 'header' else 2}: .*field larger than.*quotation mark")


@pytest.mark.parametrize("header", ["Patient,Age,Age", "Age,Patient,Patient", "Patient,Age,Years"])
def test_a_column_that_is_there_twice_is_refused(path: Path, header: str) -> None:
    path.write_text(f"{header}\nA,61,62\n")
    with pytest.raises(ValueError, match=r"table\.csv: more than one column (Age|Patient)"):
        read_lines(path, COLUMNS, synonyms={"Years": "Age"})


def test_other_columns_may_be_there_twice(path: Path) -> None:
    path.write_text("Patient,note,Age,note\nA,x,61,y\n")
    assert read_lines(path, COLUMNS).loc[2].tolist() == ["A", "61"]


FIELDS = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp", "Zs"), exclude_characters="\ufeff"), max_size=9)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(rows=st.lists(st.tuples(FIELDS, FIELDS), max_size=9))
def test_what_is_written_is_read(path: Path, rows: Sequence[tuple[str, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([COLUMNS, *rows])
    assert read_lines(path, COLUMNS).to_numpy().tolist() == [list(row) for row in rows]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(content=st.binary(max_size=200) | st.text(max_size=200).map(lambda text: f"Patient,Age\n{text}".encode()))
def test_anything_else_is_refused_by_name(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    try:
        found = read_lines(path, COLUMNS)
    except ValueError as error:
        assert str(path) in str(error)
    else:
        assert tuple(found.columns) == COLUMNS


@pytest.mark.parametrize("exclude", [[7], ["A", None], "A", [("A",)]])
def test_exclusions_are_names(path: Path, exclude: list[str]) -> None:
    with pytest.raises(ValueError, match="exclude must be a list of patients' names"):
        known_exclusions(exclude, ["A", "7"], path)
