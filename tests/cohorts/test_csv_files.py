"""Texts that spreadsheets would compute, written and read back."""

from __future__ import annotations

import csv
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monai_cpic.cohorts.csv_files import read_table, write_table


@pytest.mark.parametrize("text", ["=cmd|' /C calc'!A0", "+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "'quoted"])
def test_no_text_is_a_formula(tmp_path: Path, text: str) -> None:
    table = pd.DataFrame({"patient": [text, "ID1"], "change": [-3.5, 2.0]})
    write_table(tmp_path / "new" / "t.csv", table)
    with (tmp_path / "new" / "t.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [["patient", "change"], ["'" + text, "-3.5"], ["ID1", "2.0"]]
    pd.testing.assert_frame_equal(read_table(tmp_path / "new" / "t.csv"), table)


@settings(deadline=None)
@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), min_size=1), min_size=1))
def test_texts_are_read_back(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    write_table(path, pd.DataFrame({"patient": texts, "number": range(len(texts))}))
    found = pd.read_csv(path, keep_default_na=False, dtype=str)["patient"]
    assert [text.removeprefix("'") for text in found] == texts
    assert not any(text.startswith(("=", "+", "-", "@", "\t")) for text in found)


def test_na_is_a_text_and_nothing_is_nan(tmp_path: Path) -> None:
    write_table(tmp_path / "t.csv", pd.DataFrame({"resection": ["NA", None], "days": [1.0, None]}))
    table = read_table(tmp_path / "t.csv")
    assert table["resection"][0] == "NA" and table.isna().sum().tolist() == [1, 1]


def test_names_of_patients_are_texts_even_if_they_are_numbers(tmp_path: Path) -> None:
    table = pd.DataFrame({"patient": ["0012", "7"], "id": ["03", "4"], "days": [1.0, 2.0]})
    write_table(tmp_path / "t.csv", table)
    assert read_table(tmp_path / "t.csv")["patient"].tolist() == ["0012", "7"]
    assert read_table(tmp_path / "t.csv", "id")["id"].tolist() == ["03", "4"]
