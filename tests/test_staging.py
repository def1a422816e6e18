"""Files and folders are complete or not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from monai_cpic.staging import staged, write_whole


def test_an_error_leaves_the_older_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "new" / "file.txt"
    with write_whole(target) as path:
        path.write_text("first")
    with pytest.raises(RuntimeError), write_whole(target) as path:
        path.write_text("second, interrupted")
        raise RuntimeError
    assert target.read_text() == "first"
    assert list(target.parent.iterdir()) == [target]


def test_a_folder_takes_the_place_of_an_empty_one(tmp_path: Path) -> None:
    target = tmp_path / "cohort"
    target.mkdir()
    with write_whole(target) as path:
        path.mkdir()
        (path / "table.csv").write_text("a")
    assert [file.name for file in target.iterdir()] == ["table.csv"]


def test_what_is_staged_and_not_renamed_is_removed(tmp_path: Path) -> None:
    with staged(tmp_path / "scan") as path:
        path.mkdir()
    assert not list(tmp_path.iterdir())
