"""Methods on cohorts of real scans: tables, trainings and scores, and a small run from start to end."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from monai.bundle import ConfigParser
from sklearn.metrics import r2_score
from stand_ins import write_cohorts

from monai_cpic.experiments.command import main
from monai_cpic.experiments.real.cohorts import COHORTS
from monai_cpic.experiments.real.comparison import compare_methods
from monai_cpic.experiments.real.figure import patients_figure, scores_figure
from monai_cpic.experiments.real.methods import BASELINES, METHODS, OURS
from monai_cpic.experiments.real.places import places, table_of
from monai_cpic.experiments.real.printing import scores_table
from monai_cpic.experiments.real.radiomics import RADIOMICS, radiomics_predictions
from monai_cpic.experiments.real.scores import scores
from monai_cpic.experiments.real.trials import predictions, trials
from monai_cpic.model_files import read_model
from monai_cpic.networks import VolumeRegressor

BUNDLE = Path(__file__).resolve().parents[2] / "bundles" / "volume_regression"
HIPPOCAMPUS, STROKE, HEAD_AND_NECK = COHORTS
COARSE = [method for method in METHODS if method.name == "ridge on the coarse scan"]


def test_the_table_of_a_target_has_patients_with_it_and_paths_of_their_scans(tmp_path: Path) -> None:
    data, path = write_cohorts(tmp_path / "data", patients=4), tmp_path / "runs" / "larynx.csv"
    HEAD_AND_NECK.write_table(data, "mean_Larynx", path)
    table = pd.read_csv(path)
    assert list(table.columns) == ["id", "ct", "ptv", "mean_Larynx"]
    assert list(table["id"]) == ["P01", "P02", "P03", "P04"], "the first has no dose"
    assert all(Path(scan).is_file() for scan in table[["ct", "ptv"]].to_numpy().ravel())
    HEAD_AND_NECK.write_table(data, "mean_Larynx", path)
    with pytest.raises(FileExistsError, match=r"larynx.csv is of other patients"):
        HEAD_AND_NECK.write_table(data, "mean_Larynx", path, patients=3)
    with pytest.raises(FileNotFoundError, match=r"participants.csv does not exist: name the folder of cohort_stroke_soop"):
        STROKE.write_table(tmp_path, "nihss", path)


def test_trainings_are_all_methods_of_each_target_fold_and_seed(tmp_path: Path) -> None:
    made = trials(places(COHORTS, tmp_path, [0, 3], seeds=3), METHODS, tmp_path, {"max_epochs": 7, "rank": 4})
    assert len(made) == len({trial.job.folder for trial in made}) == 7 * len(METHODS) * 2 * 3
    splits = {trial.job.overrides["split"] for trial in made} | {trial.job.overrides["cohort::seed"] for trial in made}
    assert splits == {"$folds(@patients, @n_folds, @fold, 0, None)", 0}, "folds are those of every seed"
    epochs = {trial.method: trial.job.overrides["max_epochs"] for trial in made}
    assert epochs.pop(COARSE[0].name) == 1
    assert {epochs.pop(f"{name}, to convergence") for name in ("ResNet-34", "DenseNet-121")} == {40}
    assert set(epochs.values()) == {7}
    for method in METHODS:
        assert all((BUNDLE / "configs" / name).is_file() for name in method.configs)
    assert predictions(made).empty and scores(predictions(made), COHORTS) == []


def test_trainings_on_fewer_patients_and_within_a_budget(tmp_path: Path) -> None:
    data, output, cohort = write_cohorts(tmp_path / "data", patients=11), tmp_path / "runs", COHORTS[0]
    cohort.write_table(data, "volume_mm3", table_of(cohort, "volume_mm3", output))
    made = trials(places([cohort], output, [0], trained_on=[4, 7, 8]), METHODS, output, seconds=60)
    assert len({trial.job.folder for trial in made}) == len(made) == 3 * len(METHODS)
    assert {trial.place.trained_on for trial in made} == {0, 4, 7}, "a training part of 11 patients may have 8"
    for trial in made:
        split = f"folds(@patients, @n_folds, @fold, 0, {trial.place.trained_on or None})"
        assert (trial.job.overrides["split"], trial.job.overrides["fitting"]) == (f"${split}", f"${split}[0]")
    unlimited = {trial.method for trial in made if trial.job.seconds is None}
    assert unlimited == {COARSE[0].name, "ResNet-34, to convergence", "DenseNet-121, to convergence"}


def simulated(
    method: str, noise: float, folds: Sequence[int] = (0, 1), targets: Sequence[str] = ("a", "b"), trained_on: int = 0
) -> pd.DataFrame:
    """Predictions of 20 patients in two folds, for each target."""
    tables = []
    for target in targets:
        random = np.random.default_rng(len(target) + ord(target))
        true = random.normal(size=20)
        value = true + noise * np.random.default_rng(1).normal(size=20)
        given = {"value": value, "value_true": true}
        place = {"cohort": HEAD_AND_NECK.name, "target": target, "method": method, "fold": np.arange(20) % 2, "seed": 0}
        place["trained_on"] = trained_on
        tables.append(pd.DataFrame({**place, "seconds": 10.0, "patient": [f"P{k:02}" for k in range(20)], **given}))
    found = pd.concat(tables, ignore_index=True)
    return found[found["fold"].isin(folds)]


def test_scores_are_pooled_over_folds_and_averaged_over_targets() -> None:
    ours, rival = simulated(OURS, 0.5), simulated("rival", 0.8)
    lines = {(line.target, line.method): line for line in scores(pd.concat([ours, rival]), COHORTS)}
    assert list(lines) == [(target, method) for target in ("a", "b", "mean of 2") for method in (OURS, "rival")]
    r2 = [r2_score(part["value_true"], part["value"]) for _, part in rival.groupby("target")]
    assert lines["a", "rival"].pooled.value == pytest.approx(r2[0])
    mean = lines["mean of 2", "rival"]
    assert mean.pooled.value == pytest.approx(np.mean(r2)) and mean.pooled.low < mean.pooled.value < mean.pooled.high
    own = np.mean([r2_score(part["value_true"], part["value"]) for _, part in ours.groupby("target")])
    assert mean.difference is not None and mean.difference.value == pytest.approx(np.mean(r2) - own)
    assert mean.difference.high < 0, "the rival is worse beyond chance"
    folds = [[r2_score(p["value_true"], p["value"]) for _, p in part.groupby("target")] for _, part in rival.groupby("fold")]
    np.testing.assert_allclose(mean.folds, np.mean(folds, axis=1))
    assert lines["a", OURS].difference is None
    assert (mean.patients, mean.seconds) == (20, 10)


def test_a_rival_is_compared_on_the_patients_that_ours_predicted_too() -> None:
    found = pd.concat([simulated(OURS, 0.5, folds=[0]), simulated("rival", 0.8), simulated("other", 0.8, folds=[1])])
    lines = {(line.target, line.method): line for line in scores(found, COHORTS)}
    assert [lines["a", method].patients for method in (OURS, "rival", "other")] == [10, 10, 10]
    first = found[(found["method"] == "rival") & (found["target"] == "a") & (found["fold"] == 0)]
    assert lines["a", "rival"].pooled.value == pytest.approx(r2_score(first["value_true"], first["value"]))
    assert len(lines["a", "rival"].folds) == 2
    assert lines["a", "other"].difference is None


def test_the_table_and_the_figure_show_each_score() -> None:
    lines = scores(pd.concat([simulated(OURS, 0.5), simulated("rival", 0.8)]), COHORTS)
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in scores_table(lines).splitlines()]
    assert len(rows) == 2 + 6 and len({len(row) for row in rows}) == 1
    line, row = lines[-1], rows[-1]
    assert line.difference is not None
    assert row[:6] == ["head and neck", "mean of 2", "all", "rival", "20", "R²"]
    assert row[6] == f"{line.pooled.value:.3f} ({line.pooled.low:.3f} to {line.pooled.high:.3f})"
    assert " ± " in row[7] and row[8].startswith("-0.") and row[9] == "10"
    (panel,) = scores_figure(lines).axes
    assert [text.get_text() for text in panel.get_yticklabels()] == [OURS, "rival"]
    assert len(scores_figure([]).axes) == 0


def test_the_mean_over_targets_is_of_all_of_them() -> None:
    parts = [simulated(OURS, 0.5), simulated(OURS, 0.9, trained_on=10), simulated(OURS, 0.7, targets=["b"], trained_on=20)]
    lines = scores(pd.concat(parts), COHORTS)
    found = [(line.target, line.trained_on) for line in lines]
    assert found == [("a", 0), ("a", 10), ("b", 0), ("b", 10), ("b", 20), ("mean of 2", 0), ("mean of 2", 10)]


def test_a_learning_curve_compares_trainings_on_as_many_patients() -> None:
    methods = {OURS: 0.5, "rival": 0.8}
    parts = [simulated(name, noise + 2 / (n or 40), trained_on=n) for name, noise in methods.items() for n in (0, 10, 20)]
    lines = scores(pd.concat(parts), COHORTS)
    assert [line.trained_on for line in lines if (line.target, line.method) == ("a", "rival")] == [0, 10, 20]
    for line in lines:
        own = [other for other in lines if (other.target, other.trained_on, other.method) == (line.target, line.trained_on, OURS)]
        assert line.difference is None or line.difference.value == pytest.approx(line.pooled.value - own[0].pooled.value)
    assert "| 10 | rival |" in scores_table(lines)
    (panel,) = patients_figure(lines).axes
    assert [text.get_text() for text in panel.get_xticklabels()] == ["10", "20", "all"]
    curves = dict(zip((OURS, "rival"), panel.get_lines(), strict=True))
    assert len({line.get_color() for line in curves.values()}) == 2
    mean = {(line.method, line.trained_on): line.pooled.value for line in lines if line.target == "mean of 2"}
    for method in (OURS, "rival"):
        np.testing.assert_allclose(
            np.asarray(curves[method].get_ydata(), float), [mean[method, number] for number in (10, 20, 0)]
        )
    assert len(scores_figure(lines).axes[0].get_yticklabels()) == 2, "those trained on all patients"


@pytest.fixture
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONAI_CPIC_CACHE", str(tmp_path / "cache"))


@pytest.mark.usefixtures("_cache")
def test_all_methods_from_start_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_cohorts(tmp_path / "data", patients=10)
    command = ["real", "--data-dir", str(data), "--output-dir", str(tmp_path / "runs"), "--bundle-root", str(BUNDLE)]
    chosen = [OURS, "plain cross, as in the paper", "ResNet-34"]
    command += ["--cohorts", "hippocampus", "--folds", "0", "--processes", "1", "--methods", *chosen]
    command += ["--override", "max_epochs=1", "val_interval=1", "n_dims=4", "rank=2", "batch_size=4"]
    assert main(command) == 0
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| hippocampus")]
    assert {row[3] for row in rows} == {*chosen, *BASELINES}
    assert {row[4] for row in rows} == {"2"}, "patients of one fold"
    assert (tmp_path / "runs" / "figure.png").stat().st_size > 0
    assert (tmp_path / "runs" / "table.md").read_text().count("\n") == 2 + len(rows)
    results = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("result.json")}
    assert len(results) == len(chosen)
    networks = {path.parent.parent.name: json.loads(path.read_text())["metrics"]["network"] for path in results}
    assert (networks["resnet_34"], networks["ours"]) == ("ResNet-34", "C-PIC")
    assert main([*command, "--resume"]) == 0
    assert {path: path.stat().st_mtime_ns for path in results} == results
    with pytest.raises(FileExistsError, match="add --resume"):
        main(command)


@pytest.mark.usefixtures("_cache")
def test_each_method_is_a_network_of_the_bundle(tmp_path: Path) -> None:
    data, output = write_cohorts(tmp_path / "data", patients=10), tmp_path / "runs"
    HIPPOCAMPUS.write_table(data, "volume_mm3", table_of(HIPPOCAMPUS, "volume_mm3", output))
    names = {}
    for trial in trials(places([HIPPOCAMPUS], output, [0]), METHODS, output):
        files = [str(BUNDLE / "configs" / name) for name in trial.job.configs]
        parser = ConfigParser({**ConfigParser.load_config_files(files), "bundle_root": str(BUNDLE)})
        parser.update(trial.job.overrides)
        network = parser.get_parsed_content("network_def")
        assert isinstance(network, VolumeRegressor)
        names[trial.method.removesuffix(", to convergence")] = network.name
    others = {name: network for name, network in names.items() if network != "C-PIC"}
    assert others == {name: name for name in ("attention MIL", "ResNet-34", "DenseNet-121")} and OURS in names


def test_impossible_requests(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["real", "--data-dir", str(tmp_path), "--output-dir", str(tmp_path)]
    with pytest.raises(ValueError, match="leave out one of --seconds and --override max_epochs"):
        main([*command, "--seconds", "9", "--override", "max_epochs=1"])
    with pytest.raises(SystemExit):
        main([*command, "--trained-on", "0"])
    assert "--trained-on: invalid" in capsys.readouterr().err


@pytest.mark.usefixtures("_cache")
def test_several_channels_fewer_patients_and_a_budget(tmp_path: Path) -> None:
    data, cohort = write_cohorts(tmp_path / "data", patients=10), replace(HEAD_AND_NECK, targets=["mean_Larynx"])
    (cells,) = [method for method in METHODS if method.name == "random cells"]
    with ThreadPoolExecutor(1) as executor:
        text, failed = compare_methods(
            data, tmp_path / "runs", BUNDLE, executor, [cohort], [cells], [1], overrides={"n_dims": 4}, seconds=3, trained_on=[5]
        )
        simple = radiomics_predictions(places([cohort], tmp_path / "runs", [1], trained_on=[5]), tmp_path / "runs", executor)
    lines = [f"| {number} | {method} | 2 | R² |" for number in ("all", "5") for method in ("random cells", RADIOMICS)]
    assert not failed and all(line in text for line in lines)
    assert (tmp_path / "runs" / "patients.png").stat().st_size > 0
    every, few = sorted((tmp_path / "runs" / "head_and_neck" / "mean_larynx" / "random_cells").iterdir())
    trained = [json.loads((folder / "result.json").read_text()) for folder in (every, few)]
    assert all(found["seconds"] == 3 and found["epochs"] >= 1 for found in trained)
    patients = [len(read_model(folder / "model.pt").record.patients) for folder in (every, few)]
    assert patients == [8, 5]
    tables = [list(pd.read_csv(folder / "predictions.csv")["patient"]) for folder in (every, few)]
    assert tables[0] == tables[1], "the same are held out"
    for _, table in simple.groupby("trained_on"):
        assert sorted(table["patient"]) == sorted(tables[0]), "by radiomics, too"


@pytest.mark.usefixtures("_cache")
def test_the_real_cohorts(tmp_path: Path, real_data: Path) -> None:
    if missing := [cohort.folder for cohort in COHORTS if not (real_data / cohort.folder).is_dir()]:
        pytest.skip(f"{real_data} lacks {', '.join(missing)}")
    for cohort, patients in zip(COHORTS, ([260], [944], [120, 63, 114, 114, 80]), strict=True):
        for target, count in zip(cohort.targets, patients, strict=True):
            path = tmp_path / f"{target}.csv"
            cohort.write_table(real_data, target, path)
            table = pd.read_csv(path)
            assert len(table) == count and all(Path(scan).is_file() for scan in table[list(cohort.images)].to_numpy().ravel())
    with ThreadPoolExecutor(1) as executor:
        text, failed = compare_methods(
            real_data, tmp_path / "runs", BUNDLE, executor, [HIPPOCAMPUS], COARSE, [0], patients=20, overrides={"n_dims": 4}
        )
    assert not failed and all(f"| {method} | 4 | R² |" in text for method in (COARSE[0].name, RADIOMICS))
