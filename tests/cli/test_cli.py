"""The command: what it passes on, its errors, and what it writes."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import monai.bundle
import numpy as np
import pytest
from click.testing import CliRunner, Result
from torch import nn

from monai_cpic.cli import bundles, main
from monai_cpic.cli.scans import scans_in
from monai_cpic.data.cache.unpacked import cached
from monai_cpic.model_files import TrainingRecord, write_model


def command(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[dict[str, Any]]:
    """What MONAI would run, from the configurations of empty bundles."""
    given: list[dict[str, Any]] = []
    monkeypatch.setattr(monai.bundle, "run", lambda **settings: given.append(settings))
    for name in ("volume_regression", "osic_fvc"):
        (tmp_path / "bundles" / name / "configs").mkdir(parents=True)
    monkeypatch.setattr(bundles, "_folder", lambda: tmp_path / "bundles")
    return given


def model(path: Path, bundle: str | None, **cohort: Any) -> Path:
    """A model file of a bundle."""
    settings = {"cohort_settings": cohort, **({"bundle": bundle} if bundle else {})}
    write_model(path, nn.Linear(1, 1), TrainingRecord(settings, {}, 0, 0, []))
    return path


def test_help_needs_no_torch() -> None:
    script = "import sys; from monai_cpic.cli import main; assert 'torch' not in sys.modules; main(['--help'])"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    for name in ("train", "evaluate", "predict", "report", "copy-bundle", "simulate", "cache"):
        assert f"  {name} " in said


def test_train_passes_its_options_and_settings_on(runs: list[dict[str, Any]], tmp_path: Path) -> None:
    table = tmp_path / "cohort.csv"
    table.touch()
    words = ["--image", "ct", "--image", "pet", "--target", "score", "-o", tmp_path / "out", "--fold", 2]
    result = command("train", table, *words, "--set", "spatial_shape=[64,64,16]", "--set", "kind=number", "--set", "rank=3")
    assert result.exit_code == 0, result.output
    root = tmp_path / "bundles" / "volume_regression"
    assert runs == [
        {
            "config_file": [str(root / "configs" / "train.yaml")],
            "bundle_root": str(root),
            "table": str(table),
            "image_columns": ["ct", "pet"],
            "target": "score",
            "output_dir": str(tmp_path / "out"),
            "fold": 2,
            "spatial_shape": [64, 64, 16],
            "kind": "number",
            "rank": 3,
        }
    ]


def test_columns_of_a_table(runs: list[dict[str, Any]], tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.touch()
    assert command("train", table, "--image", "ct", "--target", "score", "--patient", "name").exit_code == 0
    assert runs[-1]["patient_column"] == "name"
    refused = command("train", table, "--image", "ct", "--target", "%FVC")
    assert refused.exit_code == 2 and "'%FVC' begins as expressions of a configuration do: rename the column" in refused.output


def test_several_processes_train_together(runs: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cohort.csv").touch()
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert command("train", tmp_path / "cohort.csv", "--image", "ct", "--target", "score").exit_code == 0
    assert [Path(path).name for path in runs[0]["config_file"]] == ["train.yaml", "multi_gpu_train.yaml"]


def test_all_folds(runs: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cohort.csv").touch()
    words = ("train", tmp_path / "cohort.csv", "--image", "ct", "--target", "score", "--all-folds")
    assert command(*words).exit_code == 0
    assert [Path(path).name for path in runs[0]["config_file"]] == ["train.yaml", "all_folds.yaml"] and "fold" not in runs[0]
    assert "leave --fold out" in command(*words, "--fold", 1).output
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "start it without torchrun" in command(*words).output and len(runs) == 1


def test_evaluate_and_predict_take_the_bundle_from_the_model(runs: list[dict[str, Any]], tmp_path: Path) -> None:
    trained = model(tmp_path / "model.pt", "osic_fvc")
    for action in ("evaluate", "predict"):
        result = command(action, trained, tmp_path)
        assert result.exit_code == 0, result.output
    evaluation, inference = runs
    assert evaluation["config_file"][0].endswith("osic_fvc/configs/evaluate.yaml") and evaluation["dataset_dir"] == str(tmp_path)
    assert inference["config_file"][0].endswith("inference.yaml") and inference["output_dir"] == str(tmp_path / "inference")


def test_scans_become_a_table(runs: list[dict[str, Any]], tmp_path: Path) -> None:
    none: dict[str, list[Any]] = {"number_columns": [], "text_columns": []}
    trained = model(tmp_path / "model.pt", "volume_regression", patient=None, images=["ct"], covariates=none)
    (tmp_path / "scans" / "sub" / "series").mkdir(parents=True)
    for name in ("a.nii.gz", "notes.txt", "sub/b.npy", "sub/series/1", "sub/series/2"):
        (tmp_path / "scans" / name).touch()
    result = command("predict", trained, tmp_path / "scans", "-o", tmp_path / "out", "--resume")
    assert result.exit_code == 0, result.output
    assert runs[0]["table"] == str(tmp_path / "out" / "scans.csv") and runs[0]["resume"] is True
    with (tmp_path / "out" / "scans.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    scans = [tmp_path / "scans" / name for name in ("a.nii.gz", "sub/b.npy", "sub/series")]
    assert [row["ct"] for row in rows] == [row["scan"] for row in rows] == [str(scan) for scan in scans]
    assert command("predict", trained, scans[0], scans[1]).exit_code == 0
    assert list(scans_in(scans[2])) == [scans[2]]  # a series

    ages = {"number_columns": [{"name": "age"}], "text_columns": []}
    trained = model(tmp_path / "aged.pt", "volume_regression", patient="id", images=["ct"], covariates=ages)
    result = command("predict", trained, scans[0])
    assert result.exit_code == 1 and "give a table with the columns ct, age" in result.output
    (tmp_path / "new.tsv").touch()
    assert command("predict", trained, tmp_path / "new.tsv").exit_code == 0
    assert runs[-1]["table"] == str(tmp_path / "new.tsv")


def test_errors_are_one_line(runs: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**settings: object) -> None:
        try:
            raise FileNotFoundError("table.csv does not exist: name it")
        except FileNotFoundError as error:
            raise RuntimeError("one of our own") from error

    (tmp_path / "cohort.csv").touch()
    words = ("train", tmp_path / "cohort.csv", "--image", "ct", "--target", "score")
    monkeypatch.setattr(monai.bundle, "run", fail)
    result = command(*words)
    assert (result.exit_code, result.output) == (1, "Error: one of our own\n")
    assert isinstance(command(*words, "--debug").exception, RuntimeError)
    monkeypatch.setattr(monai.bundle, "run", lambda **settings: settings["patient"])
    assert command(*words).output == "Error: KeyError: 'patient'\n"
    result = command(*words, "--set", "rank")
    assert result.exit_code == 2 and "'rank' is not KEY=VALUE" in result.output


@pytest.mark.parametrize(("bundle", "said"), [(None, "none of the bundles"), ("mine", "the bundle mine")])
def test_models_of_other_bundles_are_refused(runs: list[dict[str, Any]], tmp_path: Path, bundle: str | None, said: str) -> None:
    result = command("evaluate", model(tmp_path / "model.pt", bundle), tmp_path)
    assert result.exit_code == 1 and said in result.output


def test_a_cohort_is_one_folder(runs: list[dict[str, Any]], tmp_path: Path) -> None:
    result = command("predict", model(tmp_path / "model.pt", "osic_fvc"), tmp_path, tmp_path)
    assert result.exit_code == 1 and "takes the folder of a cohort" in result.output


@pytest.mark.parametrize("name", bundles.bundle_names())
def test_copied_bundles_are_whole(name: str, tmp_path: Path) -> None:
    result = command("copy-bundle", name, tmp_path / "mine")
    assert result.exit_code == 0 and str(tmp_path / "mine") in result.output
    assert {path.name for path in (tmp_path / "mine").iterdir()} >= {"LICENSE", "configs", "docs"}
    assert monai.bundle.ConfigParser.load_config_file(tmp_path / "mine" / "configs" / "train.yaml")["bundle"] == name
    assert "not empty" in command("copy-bundle", name, tmp_path / "mine").output
    with pytest.raises(ValueError, match="no bundle 'none', but"):
        bundles.bundle_root("none")


def test_simulate(tmp_path: Path) -> None:
    result = command("simulate", "brats", tmp_path / "cohort", "--patients", 1, "--resolution", 0.1)
    assert result.exit_code == 0 and (tmp_path / "cohort" / "survival_info.csv").is_file()
    assert "is not empty" in command("simulate", "osic", tmp_path / "cohort").output


def test_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONAI_CPIC_CACHE", str(tmp_path / "cache"))
    assert "holds 0.00 GiB" in command("cache").output
    (tmp_path / "scan").touch()
    kept = cached([tmp_path / "scan"], None, lambda folder: np.save(folder / "x.npy", np.zeros(2**24, np.int8)))
    (tmp_path / "cache" / "photos").mkdir()  # not the cache's own
    assert "holds 0.02 GiB" in command("cache", "--size").output
    assert "0.02 GiB removed" in command("cache", "--clear").output and not kept.exists()
    assert (tmp_path / "cache" / "photos").is_dir()


def test_report(tmp_path: Path) -> None:
    metrics = {"network": "C-PIC", "c_pic": {"score": -6.5, "score_interval": [-7, -6]}, "mean": {"score": None}}
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    assert "write it anew by monai-cpic evaluate" in command("report", tmp_path).output
    (tmp_path / "report.html").touch()
    said = command("report", tmp_path).output
    assert said.splitlines() == [
        str(tmp_path / "report.html"),
        "  network: C-PIC",
        "  c_pic: score -6.5 (-7 to -6)",
        "  mean: score None",
    ]
    (tmp_path / "metrics.json").unlink()
    assert "name the folder of a run that has ended" in command("report", tmp_path).output
