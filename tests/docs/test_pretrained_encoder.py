"""What the page on pretrained encoders shows, as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from conftest import REPOSITORY
from monai.bundle import ConfigParser

from monai_cpic.model_files import TrainingRecord, read_model, write_model

CONFIGS = REPOSITORY / "bundles" / "osic_fvc" / "configs"
SMALL = {"spatial_shape": [32, 32, 8], "n_dims": 4, "cells": 32}


def block(name: str) -> str:
    text = (REPOSITORY / "docs" / "how_to" / "pretrained_encoder.md").read_text()
    found = re.search(rf"<!-- {name} -->\n```\w+\n(.*?)```\n<!-- end -->", text, re.DOTALL)
    assert found is not None
    return found[1]


def test_the_weights_of_each_fold_are_loaded(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(block("configuration").replace("+initialize", "+all_folds::training::initialize"))
    parser = ConfigParser()
    parser.read_config([str(CONFIGS / "train.yaml"), str(CONFIGS / "all_folds.yaml"), str(own)])
    *others, loading = parser["all_folds::training::initialize"]
    assert "load_state_dict" in loading and len(others) > 1


def test_the_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(block("example"), names)
    assert {name.removeprefix("encoder.").split(".")[0] for name in names["trained"]} == {"linear", "layers"}


def test_a_model_file_rebuilds_the_network_of_the_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.yaml").write_text(block("configuration"))
    training = ConfigParser()
    training.read_config([str(CONFIGS / "train.yaml"), "own.yaml"])
    training.update(SMALL)
    resnet = training.get_parsed_content("resnet")
    weights = {name: torch.rand_like(value, dtype=torch.float32).to(value.dtype) for name, value in resnet.state_dict().items()}
    torch.save(weights, "pretrained.pt")
    *_, loading = training["initialize"]
    assert loading == yaml.safe_load(block("configuration"))["+initialize"][0] and len(training["initialize"]) > 1
    training.get_parsed_content(f"initialize::{len(training['initialize']) - 1}")
    network = training.get_parsed_content("network_def")
    assert all(torch.equal(value, weights[name]) for name, value in network.encoder.encoder.module.state_dict().items())
    record = TrainingRecord(training.get_parsed_content("settings"), {"FVC": "ml"}, fold=0, seed=0, patients=["a"])
    write_model("model.pt", network, record)
    Path("own.yaml").unlink()
    Path("pretrained.pt").unlink()
    model = read_model("model.pt")
    rebuilt = model.load(model["network_def"])
    assert str(rebuilt) == str(network)
    scans, covariates = torch.rand(2, 1, 32, 32, 8), torch.rand(2, network.head.covariates)
    with torch.no_grad():
        assert torch.equal(rebuilt.eval()(scans, covariates), network.eval()(scans, covariates))
