"""Predictions patient by patient: broken scans, interruptions, several processes."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from ignite.engine import Engine, Events
from monai.data import Dataset
from monai.engines import SupervisedEvaluator
from monai.transforms import Compose
from torch import Tensor, nn

from monai_cpic.cohorts import PatientInference, PatientPredictions
from monai_cpic.data import LazyVolume
from monai_cpic.distributed import join_processes
from monai_cpic.handlers import PrepareRows, ScreenScans
from monai_cpic.transforms import FreezeLazyVolumed, LoadLazyVolumed

PATIENTS = 5


class Mean(nn.Module):
    """The mean of each scan; one row of covariates is one row of the output."""

    calls = 0

    def forward(self, volumes: Sequence[LazyVolume], covariates: Tensor) -> Tensor:
        Mean.calls += 1
        centre = torch.tensor([[2, 2, 2]])
        return torch.stack([volume.gather(centre, 4).mean() for volume in volumes])[:, None] + covariates


class Named(ScreenScans):
    """Every scan is odd, for its patient."""

    def __init__(self) -> None:
        self.warnings = []

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        batch: Any = engine.state.batch
        self.warnings += [[f"odd {patient}"] for patient in batch["patient"]]


def items(folder: Path) -> list[dict[str, Any]]:
    rows = [{"patient": f"P{k}", "image": str(folder / f"{k}.npy")} for k in range(PATIENTS)]
    return [{**row, "covariates": torch.zeros(2, 1), "label": torch.zeros(2, 1)} for row in rows]


def inference(folder: Path, resume: bool = False) -> PatientInference:
    predictions, screening = PatientPredictions(), Named()
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=[],
        epoch_length=1,
        network=Mean(),
        prepare_batch=PrepareRows(),
        val_handlers=[predictions, screening],
        decollate=False,
    )
    opening = Compose([LoadLazyVolumed("image"), FreezeLazyVolumed("image")], lazy=True)
    dataset = Dataset(items(folder), opening)
    return PatientInference(evaluator, dataset, predictions, screening, folder / "model.pt", folder / "out", resume)


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """A folder of scans, each of which has one value."""
    (tmp_path / "model.pt").write_bytes(b"a network")
    for k in range(PATIENTS):
        np.save(tmp_path / f"{k}.npy", np.full((1, 4, 4, 4), k, np.float32))
    return tmp_path


def test_predictions_in_the_order_of_the_data(scans: Path) -> None:
    run = inference(scans)
    run.run()
    run.check()
    assert [item["patient"] for item in run.predictions.items] == [f"P{k}" for k in range(PATIENTS)]
    assert [output.tolist() for output in run.predictions.outputs] == [[[k], [k]] for k in range(PATIENTS)]
    assert [isinstance(item["image"], LazyVolume) for item in run.predictions.items] == [True, True, False, False, False]
    assert [path.name for path in (scans / "out").iterdir()] == ["predictions.jsonl"]


def test_broken_scans_are_listed_and_tried_again_once_they_are_mended(scans: Path) -> None:
    (scans / "1.npy").write_bytes(b"not an array")  # cannot be opened
    np.save(scans / "3.npy", np.full((1, 4, 4, 4), np.nan, np.float32))  # cannot be read, which the network finds
    run = inference(scans)
    run.run()
    assert [item["patient"] for item in run.predictions.items] == ["P0", "P2", "P4"]
    with pytest.raises(RuntimeError, match=r"2 of 5 scans were not predicted: .*failures.csv has the reasons"):
        run.check()
    failures = pd.read_csv(scans / "out" / "failures.csv")
    assert failures["patient"].tolist() == ["P1", "P3"]
    assert "1.npy" in failures["reason"][0] and "3.npy" in failures["reason"][1] and "applying transform" not in str(failures)
    np.save(scans / "1.npy", np.full((1, 4, 4, 4), 7, np.float32))
    np.save(scans / "3.npy", np.full((1, 4, 4, 4), 8, np.float32))
    Mean.calls = 0
    again = inference(scans, resume=True)
    again.run()
    again.check()
    assert Mean.calls == 2 and [output[0].item() for output in again.predictions.outputs] == [0, 7, 2, 8, 4]
    assert not (scans / "out" / "failures.csv").exists()
    assert again.screening.warnings == [[f"odd P{k}"] for k in range(PATIENTS)]


def test_a_corrected_covariate_is_predicted_anew(scans: Path) -> None:
    inference(scans).run()
    Mean.calls = 0
    again = inference(scans, resume=True)
    again.dataset.data[2]["covariates"] = torch.ones(2, 1)
    again.run()
    assert Mean.calls == 1 and [output[0].item() for output in again.predictions.outputs] == [0, 1, 3, 3, 4]


def test_results_of_an_earlier_model_do_not_stay(scans: Path) -> None:
    (scans / "out").mkdir()
    for name in ("predictions.csv", "metrics.json", "report.html"):
        (scans / "out" / name).touch()
    inference(scans).run()
    assert {path.name for path in (scans / "out").iterdir()} == {"predictions.jsonl"}


def test_a_killed_run_goes_on(scans: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def kill(self: Mean, *_: Any) -> Tensor:
        if Mean.calls == 3:
            raise KeyboardInterrupt
        return forward(self, *_)

    forward, Mean.calls = Mean.forward, 0
    monkeypatch.setattr(Mean, "forward", kill)
    with pytest.raises(KeyboardInterrupt):
        inference(scans).run()
    monkeypatch.undo()
    with (scans / "out" / "predictions.0.jsonl").open("a") as file:
        file.write('{"name": "[\\"P4')  # a line cut short
    Mean.calls = 0
    again = inference(scans, resume=True)
    again.run()
    assert Mean.calls == 2 and [output[0].item() for output in again.predictions.outputs] == [0, 1, 2, 3, 4]
    inference(scans).run()  # anew
    assert Mean.calls == 7


def test_another_models_predictions_are_not_gone_on_with(scans: Path) -> None:
    inference(scans).run()
    (scans / "model.pt").write_bytes(b"another network")
    with pytest.raises(ValueError, match="predictions of another model: choose another output_dir"):
        inference(scans, resume=True).run()


def test_no_prediction_at_all(scans: Path) -> None:
    for k in range(PATIENTS):
        (scans / f"{k}.npy").unlink()
    with pytest.raises(RuntimeError, match="5 of 5 scans"):
        inference(scans).run()


def _work(rank: int, folder: Path, port: int) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "localhost"}
    os.environ["MASTER_PORT"] = str(port)
    join_processes()
    run = inference(folder)
    run.run()
    (folder / f"calls.{rank}").write_text(str(Mean.calls))
    if rank == 0:
        torch.save([output[0].item() for output in run.predictions.outputs], folder / "found.pt")
    torch.distributed.destroy_process_group()


def test_two_processes_share_the_scans(scans: Path) -> None:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(_work, (scans, port), nprocs=2)
    assert [(scans / f"calls.{rank}").read_text() for rank in range(2)] == ["3", "2"]
    assert torch.load(scans / "found.pt", weights_only=True) == [0, 1, 2, 3, 4]
    assert [path.name for path in (scans / "out").iterdir()] == ["predictions.jsonl"]
