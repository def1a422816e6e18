"""The networks of all folds in one file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from configured import configured, untrained

from monai_cpic.data import open_volume
from monai_cpic.model_files import mean_model, read_model, write_model
from monai_cpic.networks import Ensemble


def of_fold(path: Path, fold: int, **given: Any) -> Path:
    """A model of one of two folds, with weights of its own."""
    torch.manual_seed(fold)
    model = read_model(untrained(path, "osic_fvc", **given))
    record = replace(model.record, fold=fold, patients=[f"{number}" for number in range(4) if number % 2 != fold])
    network = model["network_def"].double() if model["float64"] else model["network_def"]
    write_model(path, model.load(network), record, {"calibration": {"factor": 2.0 + fold}})
    return path


@pytest.mark.parametrize("float64", [False, True])
def test_it_predicts_the_mean_of_the_networks(float64: bool, tmp_path: Path) -> None:
    files = [of_fold(tmp_path / f"{fold}.pt", fold, float64=float64) for fold in range(2)]
    mean = mean_model(tmp_path / "model.pt", files)
    network = mean.load(mean["network_def"].double() if float64 else mean["network_def"])
    write_model(mean.path, network, mean.record, {"calibration": {"factor": 3.0}})
    joined = read_model(tmp_path / "model.pt")
    assert (joined.record.fold, joined.record.patients, joined.fitted) == ("all", list("0123"), {"calibration": {"factor": 3.0}})

    network = configured("osic_fvc", "inference", model=str(tmp_path / "model.pt")).get_parsed_content("network").eval()
    assert isinstance(network, Ensemble)
    assert {value.dtype for value in network.parameters()} == {torch.float64 if float64 else torch.float32}
    for file, member in zip(files, network.networks, strict=True):
        weights = read_model(file).weights
        assert all(torch.equal(value, weights[name]) for name, value in member.state_dict().items())
    volume, covariates = [open_volume(torch.rand(1, 32, 32, 8))] * 2, torch.rand(2, 8)
    singles = []
    for file in files:
        single = configured("osic_fvc", "inference", model=str(file)).get_parsed_content("network").eval()
        singles.append(single(volume, covariates))
    torch.testing.assert_close(network(volume, covariates), (singles[0] + singles[1]) / 2)


def test_there_is_no_fold_to_evaluate(tmp_path: Path) -> None:
    files = [of_fold(tmp_path / f"{fold}.pt", fold) for fold in range(2)]
    assert read_model(files[1]).validation_fold == 1
    with pytest.raises(ValueError, match=r"model.pt is the mean .* each patient was trained on .* fold<k>/model.pt"):
        _ = mean_model(tmp_path / "model.pt", files).validation_fold


def test_files_of_trainings_that_differ_in_more_than_the_fold(tmp_path: Path) -> None:
    files = [of_fold(tmp_path / "0.pt", 0), of_fold(tmp_path / "1.pt", 1, weight_decay=0.5)]
    with pytest.raises(ValueError, match="are of two trainings; train anew:\n  weight_decay: 1.0"):
        mean_model(tmp_path / "model.pt", files)
