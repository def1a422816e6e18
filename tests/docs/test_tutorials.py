"""The tutorials run as they are written."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

TUTORIALS = Path(__file__).resolve().parents[2] / "docs" / "tutorials"


def test_cross_approximation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["cross_approximation.py", "--output", str(tmp_path)])
    runpy.run_path(str(TUTORIALS / "cross_approximation.py"), run_name="__main__")
    assert capsys.readouterr().out.strip() == str(tmp_path / "cross_function.png")
    assert (tmp_path / "cross_function.png").stat().st_size > 10_000


def test_low_rank_embedding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "figure1.png"
    monkeypatch.setattr(sys, "argv", ["low_rank_embedding.py", "--output", str(output), "--steps", "2"])
    runpy.run_path(str(TUTORIALS / "low_rank_embedding.py"), run_name="__main__")
    *errors, drawn = capsys.readouterr().out.strip().splitlines()
    assert len(errors) == 4 and drawn == str(output)
    assert output.stat().st_size > 10_000


def test_scan_and_cross(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "picture.png"
    monkeypatch.setattr(sys, "argv", ["scan_and_cross.py", "--output", str(output)])
    runpy.run_path(str(TUTORIALS / "scan_and_cross.py"), run_name="__main__")
    from_random, from_seeds, drawn = capsys.readouterr().out.strip().splitlines()
    assert int(from_seeds.split(": ")[1].split()[0]) > int(from_random.split(": ")[1].split()[0])
    assert drawn == str(output) and output.stat().st_size > 10_000


def test_own_cohort(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "picture.png"
    monkeypatch.setenv("MONAI_CPIC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "argv", ["own_cohort.py", "--patients", "12", "--epochs", "1", "--output", str(output)])
    runpy.run_path(str(TUTORIALS / "own_cohort.py"), run_name="__main__")
    *_, last, drawn = capsys.readouterr().out.strip().splitlines()
    assert last.split()[0] == "p09" and drawn == str(output)
    assert output.stat().st_size > 5_000
