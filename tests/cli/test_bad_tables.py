"""Tables that cannot be trained on: the command says why in a few words, before it trains."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from monai_cpic.cli import main

ROWS = 12
SCORE = [float(row) for row in range(ROWS)]


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of scans, one of which has two channels."""
    folder = tmp_path_factory.mktemp("scans")
    for row in range(ROWS):
        np.save(folder / f"{row}.npy", np.random.default_rng(row).random((1, 8, 8, 8), np.float32))
    np.save(folder / "two.npy", np.zeros((2, 8, 8, 8), np.float32))
    return folder


@pytest.mark.parametrize(
    ("columns", "words", "said"),
    [
        ({"image": None}, [], "no column image; the header names id, score"),
        ({"image": [f"gone{row}.npy" for row in range(ROWS)]}, [], "names 12 scans that do not exist"),
        ({"image": ["two.npy"]}, [], "1 of 12 scans cannot be used"),
        ({"score": [3] * ROWS}, ["--set", "kind=number"], "the target 'score' is constant, 3"),
        ({"score": [""] * ROWS}, [], "the target score is empty in all 12 lines"),
        ({"score": ["?", "!"] * 6}, ["--set", "kind=number"], "the target 'score' is no number in most lines, such as '?'"),
        ({"score": ["a", *["b", "c"] * 5, "b"]}, [], "1 classes with a single patient, such as 'a'"),
        ({"died": [2]}, ["--event", "died"], "line 2, patient P0: died is '2', expected 1 or 0, true or false"),
        ({"died": [1], "score": [-5]}, ["--event", "died"], "line 2, patient P0: score is '-5', expected a time that is not neg"),
        ({"same": [2 * value for value in SCORE]}, ["--covariate", "same"], "the covariate 'same' equals the target 'score'"),
        ({"name": [f"N{row}" for row in range(ROWS)]}, ["--covariate", "name"], "has 12 different texts, such as 'N0'"),
        ({}, ["--set", "patience=2"], "patience=2 needs patients who are not trained on"),
        ({}, ["--set", "tuning=0.05"], "tuning=0.05 of 9 training patients is nobody"),
        ({}, ["--fold", "7"], "fold must be between 0 and 4, got 7; to train all folds"),
    ],
)
def test_bad_tables(columns: dict[str, list[object] | None], words: list[str], said: str, scans: Path, tmp_path: Path) -> None:
    """Columns replace the first values of good ones; None leaves one out."""
    table: dict[str, list[object]] = {
        "id": [f"P{row}" for row in range(ROWS)],
        "image": [f"{row}.npy" for row in range(ROWS)],
        "score": [*SCORE],
        "died": [0] * ROWS,
    }
    for name, values in columns.items():
        table[name] = [*(values or []), *table.get(name, [])[len(values or []) :]]
    kept = [name for name in table if columns.get(name, ()) is not None]
    lines = [",".join(kept), *(",".join(str(table[name][row]) for name in kept) for row in range(ROWS))]
    path = scans / f"{tmp_path.name}.csv"
    path.write_text("\n".join(lines))
    given = ["train", str(path), "--image", "image", "--target", "score", "--epochs", "1", "-o", str(tmp_path / "runs"), *words]
    result = CliRunner().invoke(main, given)
    assert result.exit_code == 1 and isinstance(result.exception, SystemExit)
    error = result.output.partition("Error: ")[2]
    assert said in error and "Traceback" not in result.output
    assert not list((tmp_path / "runs").glob("*.pt"))
    assert len(error.splitlines()) <= 12, "the first ten of a list, and how many more there are"
