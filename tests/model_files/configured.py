"""Model files of the bundles' configurations, without a training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from monai_cpic.model_files import TrainingRecord, write_model

BUNDLES = Path(__file__).resolve().parents[2] / "bundles"
SMALL: dict[str, dict[str, Any]] = {
    "osic_fvc": {"spatial_shape": [32, 32, 8], "n_dims": 4, "cells": 32},
    "brats_survival": {"spatial_shape": [32, 32, 32], "n_dims": 4, "cells": 32},
}


def configured(bundle: str, *names: str, **given: Any) -> ConfigParser:
    """Configurations of a bundle, with what is given on the command line."""
    parser = ConfigParser()
    parser.read_config([str(BUNDLES / bundle / "configs" / f"{name}.yaml") for name in names])
    parser.update(given)
    return parser


def untrained(path: Path, bundle: str, *further: str, **given: Any) -> Path:
    """The model file of a training with these configurations and settings, that did not train."""
    parser = configured(bundle, "train", *further, **{**SMALL[bundle], **given})
    record = TrainingRecord(parser.get_parsed_content("settings"), {"FVC": "ml"}, fold=0, seed=0, patients=["a", "b"])
    write_model(path, parser.get_parsed_content("network_def"), record)
    return path
