"""A cohort in a few lines, through the one evaluation; how a run names its network; predictions in order."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pandas as pd
import pytest
import torch
from ignite.engine import Engine
from ignite.metrics import MeanAbsoluteError, Metric
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator
from monai.handlers import from_engine
from torch import Tensor, nn

from monai_cpic.cohorts import (
    Baseline,
    Cohort,
    OffsetIntervals,
    PatientPredictions,
    Provenance,
    write_evaluation,
    write_inference,
)
from monai_cpic.data import Volume, list_collate, open_volume
from monai_cpic.handlers import History, PrepareRows, ScreenScans
from monai_cpic.model_files import TrainingRecord
from monai_cpic.networks import TwoBranchHead, VolumeRegressor, random_cells_net
from monai_cpic.novelty import CohortProfile

PROVENANCE = Provenance("ages", TrainingRecord({}, {}, fold=2, seed=7, patients=["A", "B", "C"]))


class MeanAge(Baseline):
    """Everyone is as old as the training patients are on average."""

    name = "mean age"

    def fit(self, training: Sequence[Mapping[str, Any]]) -> None:
        self.age = 10 * torch.cat([item["label"] for item in training]).mean(0, keepdim=True)

    def predict(self, patients: Sequence[Mapping[str, Any]]) -> list[Tensor]:
        assert not any("label" in item for item in patients), "a baseline does not see the true values"
        return [self.age] * len(patients)


class Ages(Cohort):
    """The age of everyone in a folder, from a scan and the height: one number for each patient."""

    title = "Age from a scan"
    channels = ("CT",)
    covariates = ("height (m)",)
    higher_is_better = False
    scores_caption = "Mean absolute error, years."
    loss_caption = "Training loss, years."

    def read(self, dataset_dir: str | Path) -> list[dict[str, Any]]:
        rows = pd.read_csv(Path(dataset_dir) / "ages.csv").to_dict("records")
        return [
            {
                "patient": row["patient"],
                "image": str(Path(dataset_dir) / f"{row['patient']}.npy"),
                "covariates": torch.tensor([[row["height"]]]),
                "label": torch.tensor([[row["age"] / 10]]),
            }
            for row in rows
        ]

    def in_units(self, data: Mapping[str, Any]) -> dict[str, Any]:
        return {**data, "pred": 10 * data["pred"], "label": 10 * data["label"]}

    def key_metric(self) -> dict[str, Metric]:
        return {"error": MeanAbsoluteError(from_engine(["pred", "label"]))}

    def table(self, patients: Sequence[Mapping[str, Any]], outputs: Sequence[Tensor]) -> pd.DataFrame:
        rows = zip(patients, outputs, strict=True)
        return pd.DataFrame([{"patient": p["patient"], "age": y.item(), "true": 10 * p["label"].item()} for p, y in rows])

    def scores(self, table: pd.DataFrame) -> dict[str, float]:
        return {"error": (table["age"] - table["true"]).abs().mean()}

    def baselines(self) -> Sequence[Baseline]:
        return [MeanAge()]

    def groups(self, patients: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
        return pd.DataFrame({"size": ["tall" if patient["covariates"][0, 0] > 1.95 else "short" for patient in patients]})


class Sees(VolumeRegressor):
    """A network of a name that encodes the given points."""

    def __init__(self, name: str, points: Tensor | None) -> None:
        super().__init__()
        self.name = name
        self.points = points
        self.head = TwoBranchHead(1, 1, 1)

    @property
    def feature_layer(self) -> nn.Module:
        return nn.Identity()

    def features(self, volumes: Sequence[Volume]) -> Tensor:
        return torch.ones(len(volumes), 1)

    def sampled_points(self, volume: Volume) -> Tensor | None:
        return self.points


class Heights(nn.Module):
    """Predicts an age from the height alone."""

    def forward(self, volumes: Sequence[Volume], covariates: Tensor) -> Tensor:
        return covariates + 2.5


@pytest.fixture
def ages(tmp_path: Path) -> list[dict[str, Any]]:
    (tmp_path / "ages.csv").write_text("patient,height,age\nA,1.6,40\nB,1.7,50\nC,1.8,60\nD,1.9,70\nE,2.0,80\n")
    items = Ages().read(tmp_path)
    return [{**item, "image": open_volume(torch.rand(1, 6, 5, 4))} for item in items]


def predicted(patients: Sequence[dict[str, Any]], error: float) -> PatientPredictions:
    predictions = PatientPredictions()
    predictions.items = list(patients)
    predictions.outputs = [10 * item["label"] + error for item in patients]
    return predictions


def test_a_cohort_of_ones_own_goes_through_the_evaluation(
    ages: list[dict[str, Any]], tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("monai_cpic.cohorts.evaluation"), "propagate", True)
    training, evaluated, history = ages[:3], ages[3:], History()
    history.rows = [{"epoch": 1, "loss": 2.0}]
    network = Sees("C-PIC", torch.tensor([[1, 2, 3], [5, 4, 3], [6, 0, 0]]))
    metrics = write_evaluation(
        tmp_path / "run", Ages(), training, predicted(evaluated, 3.0), predicted(evaluated, -5.0), network, history, PROVENANCE
    )
    assert metrics == json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert list(metrics) == [
        "network",
        "training_patients",
        "evaluated_patients",
        "c_pic",
        "covariates_only",
        "mean_age",
        "c_pic_minus_best_baseline",
    ]
    assert (metrics["network"], metrics["training_patients"], metrics["evaluated_patients"]) == ("C-PIC", 3, 2)
    assert metrics["c_pic"]["error"] == pytest.approx(3) and metrics["covariates_only"]["error"] == pytest.approx(5)
    assert metrics["mean_age"]["error"] == pytest.approx(25) and metrics["mean_age"]["error_interval"] == pytest.approx([20, 30])
    difference = metrics["c_pic_minus_best_baseline"]
    assert difference["best_baseline"] == "covariates_only" and difference["error"] == pytest.approx(-2)
    sentence = (
        "error: C-PIC is 2 better than the best baseline, covariates only (95 % interval 2 better to 2 better; 2 patients)."
    )
    files = f"{tmp_path / 'run'} holds baselines.csv, metrics.json, predictions.csv, report.html."
    assert list(dict.fromkeys(caplog.messages))[-2:] == [files, sentence]
    baselines = pd.read_csv(tmp_path / "run" / "baselines.csv")
    assert baselines["model"].tolist() == ["covariates only"] * 2 + ["mean age"] * 2
    assert baselines["age"].tolist() == pytest.approx([65, 75, 50, 50])
    assert pd.read_csv(tmp_path / "run" / "predictions.csv")["age"].tolist() == pytest.approx([73, 83])
    page = (tmp_path / "run" / "report.html").read_text()
    short, tall = (page.index(f"size: {name}") for name in ("short", "tall"))
    assert page.index("Scores by group") < short < tall
    assert sentence in page and "25 (20 to 30)" in page
    assert page.count("data:image/png") == 3  # curve, two scans
    assert (
        "3 training patients, 2 evaluated patients; none left out" in page
        and "fold 2, seed 7" in page
        and "2 of 120 voxels were encoded, and 1 in the padding" in page
    )


class AgesWithIntervals(Ages):
    """The same, with intervals."""

    intervals = OffsetIntervals(0.2, lambda item: 10 * item["label"].expand(-1, 2))


def test_intervals_are_calibrated_on_other_patients(ages: list[dict[str, Any]], tmp_path: Path) -> None:
    cohort, network = AgesWithIntervals(), Sees("C-PIC", None)
    predictions = predicted(ages, 0.0)
    predictions.outputs = [output + error for output, error in zip(predictions.outputs, (1, 2, 3, 4, 5), strict=True)]
    metrics = write_evaluation(tmp_path, cohort, ages, predictions, predictions, network, History(), PROVENANCE)["intervals"]
    assert (metrics["expected_coverage"], metrics["patients"], metrics["patients_of_unknown_truth"]) == (0.2, 5, 0)
    assert metrics["groups"] == {"size: short": {"patients": 4, "coverage": 0.25}, "size: tall": {"patients": 1, "coverage": 0.0}}
    assert metrics["coverage"] == pytest.approx(0.2)
    written = pd.read_csv(tmp_path / "predictions.csv")  # of four errors the third largest and the third smallest
    assert (written["age"] - written["low"]).tolist() == pytest.approx([4, 4, 4, 3, 3])
    assert (written["age"] - written["high"]).tolist() == pytest.approx([3, 3, 2, 2, 2])
    assert "Coverage by group" in (tmp_path / "report.html").read_text()

    few = predicted(ages[:1], 1.0)
    assert write_evaluation(tmp_path, cohort, ages, few, few, network, History(), PROVENANCE)["intervals"] is None
    assert "There are none: a coverage of 0.6 needs at least 2" in (tmp_path / "report.html").read_text()


def test_new_patients_get_the_intervals_of_the_model_file(ages: list[dict[str, Any]], tmp_path: Path) -> None:
    cohort, predictions, network = AgesWithIntervals(), predicted(ages, 3.0), Sees("C-PIC", None)
    screening = ScreenScans(CohortProfile((), (), (), {}, {}), network)
    screening.warnings = [[] for _ in ages]
    write_inference(tmp_path, cohort, predictions, network, screening, PROVENANCE, cohort.calibrate(ages, predictions.outputs))
    table = pd.read_csv(tmp_path / "predictions.csv")
    assert table["low"].tolist() == table["high"].tolist() == pytest.approx(table["true"].tolist()), "all errors are 3"
    assert "true value of 20 % of new patients" in (tmp_path / "report.html").read_text()
    write_inference(tmp_path, cohort, predictions, network, screening, PROVENANCE)
    assert "low" not in pd.read_csv(tmp_path / "predictions.csv")
    assert "too few patients to hold out" in (tmp_path / "report.html").read_text()
    assert Ages().calibrate(ages, predictions.outputs) is None


def test_a_run_names_the_network_that_it_ran(ages: list[dict[str, Any]], tmp_path: Path) -> None:
    predictions, network = predicted(ages[3:], 3.0), Sees("ResNet-34", None)
    metrics = write_evaluation(tmp_path, Ages(), ages[:3], predictions, predictions, network, History(), PROVENANCE)
    assert metrics["network"] == "ResNet-34" and "resnet_34" in metrics and "c_pic" not in metrics
    page = (tmp_path / "report.html").read_text()
    assert "ResNet-34" in page and "C-PIC" not in page and "data:image/png" not in page


def test_inference_says_what_is_odd(ages: list[dict[str, Any]], tmp_path: Path) -> None:
    predictions, network = predicted(ages[3:], 3.0), Sees("ResNet-34", None)
    screening = ScreenScans(CohortProfile((), (), (), {}, {}), network)
    screening.warnings = [["voxel spacing is 9 (training: 1 to 2)", "the features are unlike"], []]
    metrics = write_inference(tmp_path, Ages(), predictions, network, screening, PROVENANCE)
    assert metrics == {"network": "ResNet-34", "predicted_patients": 2, "patients_with_a_warning": 1}
    assert metrics == json.loads((tmp_path / "metrics.json").read_text())
    warnings = pd.read_csv(tmp_path / "predictions.csv", keep_default_na=False)["warning"].tolist()
    assert warnings == ["voxel spacing is 9 (training: 1 to 2); the features are unlike", ""]
    page = (tmp_path / "report.html").read_text()
    assert "2 predicted; none left out" in page and "Scans unlike those of the training" in page
    screening.warnings = [[], []]
    write_inference(tmp_path, Ages(), predictions, network, screening, PROVENANCE)
    assert "All scans are like those of the training" in (tmp_path / "report.html").read_text()


def test_contributions_are_figures_and_maps(ages: list[dict[str, Any]], tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = random_cells_net((6, 5, 4), n_dims=4, cells=8, covariates=1)
    network([item["image"] for item in ages], torch.ones(5, 1))
    patients = [{**item, "patient": f"../{item['patient']}"} for item in ages]
    screening = ScreenScans(CohortProfile((), (), (), {}, {}), network)
    screening.warnings = [[] for _ in patients]
    write_inference(tmp_path / "run", Ages(), predicted(patients, 1.0), network, screening, PROVENANCE, maps=True)
    page = (tmp_path / "run" / "report.html").read_text()
    assert page.count("Why this prediction: ../") == 4 and page.count("Where it was sampled: ../") == 4  # headings, descriptions
    maps = sorted((tmp_path / "run" / "maps").iterdir())
    assert [path.name for path in maps] == [f"..%2F{name}.nii.gz" for name in "ABCDE"]
    image = nibabel.load(maps[0])
    assert isinstance(image, nibabel.Nifti1Image)
    assert image.shape == (6, 5, 4) and np.any(image.get_fdata())
    several = [{**item, "patient": "A"} for item in ages]
    write_inference(tmp_path / "one", Ages(), predicted(several, 1.0), network, screening, PROVENANCE, maps=True)
    assert sorted(path.name for path in (tmp_path / "one" / "maps").iterdir()) == [f"A_{k}.nii.gz" for k in range(1, 6)]
    with pytest.raises(ValueError, match="not known of ResNet-34: set maps to false"):
        write_inference(tmp_path, Ages(), predicted(patients, 1.0), Sees("ResNet-34", None), screening, PROVENANCE, maps=True)


def test_a_cohort_of_ones_own_goes_through_an_engine(ages: list[dict[str, Any]]) -> None:
    """As in a bundle's configuration."""
    cohort, predictions = Ages(), PatientPredictions()
    in_units: Any = cohort.in_units  # MONAI asks for a Transform and takes any function
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(Dataset(ages), batch_size=2, collate_fn=list_collate),
        network=Heights(),
        prepare_batch=PrepareRows(),
        postprocessing=in_units,
        key_val_metric=cohort.key_metric(),
        metric_cmp_fn=cohort.is_better,
        val_handlers=[predictions],
        decollate=False,
    )
    evaluator.run()
    table = cohort.table(predictions.items, predictions.outputs)
    assert table["age"].tolist() == pytest.approx([41, 42, 43, 44, 45])
    assert evaluator.state.metrics["error"] == pytest.approx(cohort.scores(table)["error"])


def test_which_metric_is_better() -> None:
    assert Ages().is_better(1.0, 2.0) and not Ages().is_better(2.0, 1.0) and not Ages().is_better(1.0, 1.0)


def test_predictions_are_collected_in_order(ages: list[dict[str, Any]]) -> None:
    predictions = PatientPredictions()
    engine = Engine(lambda _, batch: {"pred": torch.arange(len(batch["patient"]))[:, None] + 100.0})
    predictions.attach(engine)
    batches = [{key: [item[key] for item in part] for key in ages[0]} for part in (ages[:3], ages[3:])]
    for _ in range(2):
        engine.run(batches)
    table = Ages().table(predictions.items, predictions.outputs)
    assert table["patient"].tolist() == list("ABCDE") and table["age"].tolist() == [100, 101, 102, 100, 101]
