"""The methods that are compared: settings of the bundle ``volume_regression``, the same on every cohort."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monai_cpic.experiments.tables import PAPER, Row

__all__ = ["BASELINES", "METHODS", "OURS"]

BASELINES = ("ridge on intensities", "constant")
"""The bundle's own models that need no training, which every run fits to its training patients."""

EDGE = 96  # voxels of the grid's longest edge, at most, for networks that see all of them

CUBES = {"batch_size": 4, "learning_rate": 1e-3}  # normalisation over 4 times 64 cubes

REDUCED = {
    "spacing": f"$[max(step, length / {EDGE - 1}) for step, length in zip(@measured.spacing, @measured.extent)]",
    "batch_size": 4,
    "train::dataloader::drop_last": True,  # normalisation over a batch needs more than one scan
    "learning_rate": 2e-4,
    # no flips, since left and right differ, and no zoom, since a size may be the target
    "augmentation": [
        {
            "_target_": "monai.transforms.RandAffined",
            "keys": "image",
            "prob": 0.8,
            "rotate_range": [0.17, 0.17, 0.17],
            "translate_range": [4, 4, 4],
        }
    ],
}


CONVERGED = {  # one cycle of the learning rate, and the weights of the epoch that is best for those who are set aside
    "tuning": 0.2,
    "max_epochs": 40,
    "val_interval": 1,
    "train::saver::interval": 40,  # a checkpoint is a gigabyte, and a trial that was killed begins anew
}


def _rival(network: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of another network than ours."""
    return {
        **settings,
        "network_def": {
            "_target_": f"monai_cpic.networks.{network}",
            "spatial_shape": "@spatial_shape",
            "in_channels": "$len(@cohort.channels)",
            "out_channels": "@out_channels",
            "covariates": "@covariates",
        },
    }


METHODS = (
    Row("ours"),
    Row("encoded voxels alone", overrides={"linear::score": "@fine"}),
    # nothing of it is learned by epochs or encoded, but a training has an epoch, and encodes a few voxels
    Row(
        "ridge on the coarse scan",
        overrides={
            "linear::score": "@coarse",
            "decomposition": "@random_cells",
            "cells": 8,
            "max_epochs": 1,
            "val_interval": 1,
        },
    ),
    Row("random cells", overrides={"decomposition": "@random_cells"}),
    Row("plain cross, as in the paper", PAPER),
    Row("attention MIL", overrides=_rival("MILRegressor", CUBES)),
    Row("ResNet-34", overrides=_rival("ResNetRegressor", REDUCED)),
    Row("DenseNet-121", overrides=_rival("DenseNetRegressor", REDUCED)),
    Row("ResNet-34, to convergence", overrides=_rival("ResNetRegressor", {**REDUCED, **CONVERGED})),
    Row("DenseNet-121, to convergence", overrides=_rival("DenseNetRegressor", {**REDUCED, **CONVERGED})),
)

OURS = METHODS[0].name
