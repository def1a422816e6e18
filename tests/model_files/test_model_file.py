"""What a model file holds, and which files are refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from configured import SMALL, configured, untrained
from monai.transforms import Compose

from monai_cpic.model_files import TrainingRecord, check_patients, hashed, read_model, write_model

RESNET = {"network_def": "@resnet_def"}
VOXELS = {"encoder": {"_target_": "monai_cpic.networks.VoxelEncoder"}, "decomposition": "@tt_svd"}


@pytest.mark.parametrize(
    ("bundle", "further", "given"),
    [
        ("osic_fvc", [], {}),
        ("osic_fvc", ["paper"], {"rank": 3}),
        ("osic_fvc", ["paper"], VOXELS),
        ("osic_fvc", [], RESNET),
        ("osic_fvc", [], {"decomposition": "@cross", "readout": "$None", "augmentation": []}),
        ("brats_survival", [], {"zoom": 2, "modalities": ["t1ce"], "segmentation": True}),
        ("brats_survival", ["paper"], {"use_covariates": False}),
    ],
)
def test_the_network_and_the_preprocessing_are_rebuilt_as_trained(
    bundle: str, further: list[str], given: dict[str, Any], tmp_path: Path
) -> None:
    path = untrained(tmp_path / "model.pt", bundle, *further, **given)
    trained = configured(bundle, "train", *further, **{**SMALL[bundle], **given})
    predicting = configured(bundle, "inference", model=str(path))
    network, rebuilt = trained.get_parsed_content("network_def"), predicting.get_parsed_content("network")
    assert str(rebuilt) == str(network)
    weights = torch.load(path, weights_only=True)["network"]
    assert all(torch.equal(value.to(weights[name].dtype), weights[name]) for name, value in rebuilt.state_dict().items())
    assert {value.dtype for value in rebuilt.parameters()} == {torch.float64 if further else torch.float32}
    of_the_training = [step for part in ("opening", "freezing", "placing") for step in trained.get_parsed_content(part)]
    assert _configuration(predicting.get_parsed_content("preprocessing")) == _configuration(Compose(of_the_training, lazy=True))
    assert list(predicting.get_parsed_content("cohort").channels) == list(trained.get_parsed_content("cohort").channels)


def test_where_scans_are_kept_is_a_matter_of_each_run(tmp_path: Path) -> None:
    path = untrained(tmp_path / "model.pt", "osic_fvc", scans_on_device=3)
    assert "scans_on_device" not in read_model(path).record.settings
    for workflow in ("evaluate", "inference"):
        parser = configured("osic_fvc", workflow, model=str(path), scans_on_device=2, device="cpu")
        check = next(step for step in parser["initialize"] if "check_given" in step)
        parser.get_parsed_content(f"initialize::{parser['initialize'].index(check)}")
        assert parser.get_parsed_content("preprocessing").transforms[-1].left == 2 * 2**30


def test_the_file_holds_plain_values_and_no_path(tmp_path: Path) -> None:
    folders = {"dataset_dir": "/data/secret", "output_dir": "/runs/secret", "exclude": ["Secret Name"]}
    path = untrained(tmp_path / "model.pt", "osic_fvc", **folders, **{"indices::folder": "$@output_dir + '/indices'"})
    content = torch.load(path, weights_only=True)
    assert set(content) == {
        "format",
        "network",
        "fitted",
        "settings",
        "units",
        "fold",
        "seed",
        "patients",
        "simulated",
        "versions",
    }
    assert content["settings"]["hu_window"] == [-1000.0, -200.0] and content["settings"]["spatial_shape"] == [32, 32, 8]
    assert "ecret" not in str({name: value for name, value in content.items() if name != "network"})


def test_what_a_file_cannot_hold_is_refused_at_the_start() -> None:
    parser = configured("osic_fvc", "train", **{**SMALL["osic_fvc"], "pooled::steps": "$torch.ones(3)"})
    with pytest.raises(RuntimeError) as refused:
        parser.get_parsed_content("settings")
    assert "pooled::steps is tensor" in str(refused.value.__cause__)


def write(path: Path, **changes: Any) -> Path:
    """A small file, with some entries changed."""
    write_model(path, torch.nn.Linear(1, 1), TrainingRecord({}, {}, fold=0, seed=0, patients=[]))
    torch.save({**torch.load(path, weights_only=True), **changes}, path)
    return path


def test_a_file_without_settings_is_refused_with_the_way_out(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(1, 1).state_dict(), tmp_path / "model.pt")
    with pytest.raises(ValueError, match=r"model.pt holds weights, but not the settings .* 0\.1 .* or train anew"):
        read_model(tmp_path / "model.pt")


@pytest.mark.parametrize("content", [b"", b"no model", b"PK\x03\x04" + bytes(50)])
def test_an_unreadable_file(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(content)
    with pytest.raises(ValueError, match="model.pt cannot be read"):
        read_model(tmp_path / "model.pt")
    with pytest.raises(FileNotFoundError, match="train first"):
        read_model(tmp_path / "other.pt")


def test_half_a_file(tmp_path: Path) -> None:
    path = write(tmp_path / "model.pt")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match="model.pt cannot be read"):
        read_model(path)


def test_another_format(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is of format 7, but this version reads format 1: use monai_cpic 3.0"):
        read_model(write(tmp_path / "model.pt", format=7, versions={"monai-cpic": "3.0"}))


def test_weights_that_are_not_finite(tmp_path: Path) -> None:
    weights = {"weight": torch.ones(1, 1), "bias": torch.tensor([torch.nan])}
    with pytest.raises(ValueError, match=r"weights are not finite \(bias\)"):
        read_model(write(tmp_path / "model.pt", network=weights))


def test_weights_of_another_network(tmp_path: Path) -> None:
    model = read_model(write(tmp_path / "model.pt"))
    with pytest.raises(ValueError, match="do not fit Linear: they were written by monai_cpic"):
        model.load(torch.nn.Linear(2, 1))
    with pytest.raises(KeyError, match="no setting 'rank'"):
        model["rank"]


@pytest.mark.parametrize(
    "harmful",
    [
        "$__import__('os').getcwd()",
        {"_target_": "os.getcwd"},
        {"_target_": "monai_cpic.staging.tempfile.mkdtemp"},
        {"_target_": "monai_cpic.experiments.runs.run_jobs", "todo": [], "bundle_root": "."},
    ],
)
def test_a_file_runs_nothing(harmful: Any, tmp_path: Path) -> None:
    model = read_model(write(tmp_path / "model.pt", settings={"network_def": [harmful]}))
    with pytest.raises(ValueError, match="contains the expression|names (os|monai_cpic)"):
        model["network_def"]


def test_files_of_two_trainings(tmp_path: Path) -> None:
    one, other = read_model(write(tmp_path / "a.pt")), read_model(write(tmp_path / "b.pt", fold=3))
    one.check_same_training(one)
    with pytest.raises(ValueError, match=re.escape("fold: 0 (now), 3 (saved)")):
        one.check_same_training(other)


def test_patients_of_the_training_are_recognised_by_their_hashes() -> None:
    record = TrainingRecord({}, {}, fold=0, seed=0, patients=hashed(["a", "b"]))
    check_patients(record, ["b", "a"])
    with pytest.raises(ValueError, match="lacks 1 of the model's 2 training patients and has 2 others"):
        check_patients(record, ["b", "c", "d"])


def _configuration(preprocessing: Compose) -> list[dict[str, Any]]:
    """Each transform by its attributes, but objects by their type."""
    plain = (bool, int, float, str, list, tuple, type(None))
    return [
        {
            "": type(step).__name__,
            **{name: value if isinstance(value, plain) else type(value).__name__ for name, value in vars(step).items()},
        }
        for step in preprocessing.transforms
    ]
