"""The experiments: jobs, their results, the printed tables, and a tiny run of one table from start to end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from monai_cpic.experiments.command import main
from monai_cpic.experiments.figure1 import truncated
from monai_cpic.experiments.printing import markdown
from monai_cpic.experiments.runs import jobs
from monai_cpic.experiments.tables import TABLE_1, TABLE_2, TABLES
from monai_cpic.phantoms import OSICSimulation

REPOSITORY = Path(__file__).resolve().parents[2]


def test_every_row_of_the_papers_tables_is_there() -> None:
    assert [sum(row.paper is not None for row in table.rows) for table in TABLES.values()] == [5, 8]
    for table in TABLES.values():
        assert len({row.name for row in table.rows}) == len(table.rows)
        for name in {name for row in table.rows for name in row.configs}:
            assert (REPOSITORY / "bundles" / table.bundle / "configs" / name).is_file()


def test_jobs_are_all_rows_of_each_fold_and_seed(tmp_path: Path) -> None:
    made = jobs(TABLE_2, tmp_path, "data", folds=5, seeds=3, overrides={"rank": 4, "max_epochs": 1})
    assert len(made) == len({job.folder for job in made}) == 15 * len(TABLE_2.rows)
    doubled = next(job for job in made if job.row == "C-PIC n_dims 8, r 10, doubled")
    assert doubled.overrides["spatial_shape"] == [512, 512, 512] and doubled.overrides["zoom"] == 2
    twelve = next(job for job in made if job.row == "C-PIC n_dims 8, r 12")
    assert (twelve.overrides["rank"], doubled.overrides["rank"]) == (12, 4)  # a row is what its name says
    with pytest.raises(ValueError, match="no row 'C-PICK'"):
        jobs(TABLE_1, tmp_path, "data", folds=5, seeds=1, rows=["C-PICK"])


def test_a_table_has_our_figures_and_the_papers_beside_them() -> None:
    def result(network: str, key: str, score: float, epoch: float) -> dict[str, Any]:
        scores = {"covariates_only": -7.0, "ridge": -6.75, "baseline_and_mean_slope": -6.5, "constant": None}
        references = {name: {"score": score} for name, score in scores.items()}
        metrics = {"network": network, key: {"score": score}, **references}
        return {"metrics": metrics, "epoch": epoch, "prediction": 0.5, "memory": 0.25, "parameters": 1234}

    found = {
        "ResNet-34": [result("ResNet-34", "resnet_34", -6.5, 100.0)],
        "C-PIC": [result("C-PIC", "c_pic", score, epoch) for score, epoch in ((-6.0, 20.0), (-6.2, 30.0))],
    }
    _, _, *lines = markdown(TABLE_1, found, (64, 64, 8)).splitlines()
    assert lines == [
        "| ResNet-34 | 64×64×8 | -6.50 (-6.86) | 100.0 (4650) | 1 (1) | 0.50 (0.2) | 1 (1) | 0.25 (7.0) | 1 (1) "
        "| 1,234 (67,000,000) |",
        "| C-PIC | 64×64×8 | -6.10 ± 0.14 (-6.73) | 25.0 (51480) | 0.25 (11) | 0.50 (25.2) | 1 (1.3e+02) | 0.25 (3.5) "
        "| 1 (0.5) | 1,234 (87,000) |",
        "| covariates only |  | -7.00 ± 0.00 |  |  |  |  |  |  |  |",
        "| ridge |  | -6.75 ± 0.00 |  |  |  |  |  |  |  |",
        "| baseline and mean slope |  | -6.50 ± 0.00 |  |  |  |  |  |  |  |",
        "| constant |  | not defined |  |  |  |  |  |  |  |",
    ]


def test_a_table_from_start_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("MONAI_CPIC_CACHE", str(tmp_path / "cache"))
    data = OSICSimulation(patients=10, seed=0, resolution=0.25).write(tmp_path / "data", progress=False)
    simulated = "simulation={patients: 10, seed: 0, resolution: 0.25}"
    command = [
        "table1",
        "--dataset-dir",
        str(data),
        "--output-dir",
        str(tmp_path / "runs"),
        "--folds",
        "2",
        "--grid",
        "16",
        "16",
        "8",
    ]
    command += ["--bundle-root", str(REPOSITORY / "bundles" / "osic_fvc"), "--processes", "1"]
    few = ["--rows", "our default", "--override", simulated, "val_interval=1"]
    assert main([*command, *few, "max_epochs=1"]) == 0
    lines = capsys.readouterr().out.strip().splitlines()
    assert "16×16×8" in lines[-5] and " ± " in lines[-5], "two folds"
    assert lines[-4].startswith("| covariates only |") and lines[-1].startswith("| constant |")
    results = sorted((tmp_path / "runs").glob("*/*/result.json"))
    written = [path.stat().st_mtime_ns for path in results]
    assert len(results) == 2

    with pytest.raises(FileExistsError, match="add --resume"):
        main([*command, *few, "max_epochs=1"])
    with pytest.raises(FileExistsError, match="other settings"):
        main([*command, *few, "max_epochs=2", "--resume"])
    assert main([*command, *few, "max_epochs=1", "--resume"]) == 0
    assert [path.stat().st_mtime_ns for path in results] == written

    assert main([*command, "--rows", "C-PIC", "--override", simulated, "rank=0"]) == 1, "both folds fail, and it says so"
    assert "rank" in next((tmp_path / "runs" / "c_pic").glob("*/log.txt")).read_text()


def test_truncation_is_that_of_the_svd() -> None:
    images = torch.rand(2, 7, 5)
    u, s, vh = torch.linalg.svd(images, full_matrices=False)
    torch.testing.assert_close(truncated(images, 3), (u[..., :3] * s[:, None, :3]) @ vh[:, :3])
