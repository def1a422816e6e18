"""A setting, fold, seed or patient that disagrees with the model, or with the checkpoint, is refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from configured import SMALL, configured, untrained
from monai.bundle import ConfigParser

from monai_cpic.model_files import TrainingRecord

# a setting, another value, and what the message says of it
OSIC: list[tuple[str, Any, str]] = [
    ("spatial_shape", [64, 64, 8], "spatial_shape: [64, 64, 8] (given), [32, 32, 8] (in the model)"),
    ("voxels", "resized", "voxels: 'resized' (given), 'native' (in the model)"),
    ("hu_window", [-1000.0, 0.0], "hu_window: [-1000.0, 0.0] (given), [-1000.0, -200.0] (in the model)"),
    ("n_dims", 8, "n_dims: 8 (given), 4 (in the model)"),
    ("steps", [1, 4], "steps: [1, 4] (given), [1] (in the model)"),
    ("cells", 64, "cells: 64 (given), 32 (in the model)"),
    ("rank", 8, "rank: 8 (given), 5 (in the model)"),
    ("cells_alone", 0.5, "cells_alone: 0.5 (given), 0.7 (in the model)"),
    ("oversampling", 1.0, "oversampling: 1.0 (given), 1.5 (in the model)"),
    ("quantiles", [0.1, 0.5, 0.9], "quantiles: [0.1, 0.5, 0.9] (given), [0.2, 0.5, 0.8] (in the model)"),
    ("float64", True, "float64: True (given), False (in the model)"),
    ("encoder", "@positioned", "encoder: '@positioned' (given), '@pooled' (in the model)"),
    ("decomposition", "@cross", "decomposition: '@cross' (given), '@curriculum' (in the model)"),
    ("readout", "$None", "readout: None (given), '@time_course' (in the model)"),
    ("fold", 1, "fold: 1 (given), 0 (in the model)"),
    ("seed", 7, "seed: 7 (given), 0 (in the model)"),
]
BRATS: list[tuple[str, Any, str]] = [
    ("zoom", 2, "zoom: 2 (given), 1 (in the model)"),
    ("modalities", ["t1"], "modalities: ['t1'] (given), ['flair', 't1', 't1ce', 't2'] (in the model)"),
    ("segmentation", True, "segmentation: True (given), False (in the model)"),
    ("use_covariates", False, "use_covariates: False (given), True (in the model)"),
]
ALL = [("osic_fvc", *case) for case in OSIC] + [("brats_survival", *case) for case in BRATS]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {bundle: untrained(folder / f"{bundle}.pt", bundle) for bundle in SMALL}


@pytest.mark.parametrize("workflow", ["inference", "evaluate"])
@pytest.mark.parametrize(("bundle", "setting", "value", "said"), ALL, ids=[case[1] for case in ALL])
def test_what_is_given_beside_a_model_must_agree_with_it(
    bundle: str, setting: str, value: Any, said: str, workflow: str, models: dict[str, Path]
) -> None:
    parser = configured(bundle, workflow, model=str(models[bundle]), **{setting: value})
    with pytest.raises(RuntimeError) as refused:
        check(parser)
    message = str(refused.value.__cause__)
    assert message.startswith(f"settings disagree with {models[bundle]}; leave them out, or train anew")
    assert message.splitlines()[1:] == [f"  {said}"]


@pytest.mark.parametrize("workflow", ["inference", "evaluate"])
@pytest.mark.parametrize("bundle", list(SMALL))
def test_what_agrees_is_accepted(bundle: str, workflow: str, models: dict[str, Path]) -> None:
    parser = configured(bundle, workflow, model=str(models[bundle]), batch_size=3, exclude=["ID3"], **SMALL[bundle])
    check(parser)


@pytest.mark.parametrize(
    ("bundle", "setting", "value"),
    [
        *(case[:3] for case in ALL if case[1] not in ("fold", "seed")),
        ("osic_fvc", "batch_size", 4),
        ("osic_fvc", "learning_rate", 0.1),
        ("osic_fvc", "weight_decay", 0.1),
        ("osic_fvc", "rate_weight", 0.0),
        ("osic_fvc", "n_folds", 3),
        ("osic_fvc", "augmentation", []),
        ("osic_fvc", "head::linear_path", False),
        ("brats_survival", "alive", "censored"),
    ],
)
def test_a_training_with_another_setting_is_another_training(bundle: str, setting: str, value: Any) -> None:
    now, saved = (_record(bundle, **given) for given in ({setting: value}, {}))
    differing = {line.split(":")[0] for line in now.differences(saved)}
    assert setting.split("::")[0] in differing


@pytest.mark.parametrize(("setting", "value"), [("max_epochs", 99), ("val_interval", 1), ("threads", 2), ("output_dir", "/a")])
def test_what_a_resumed_training_may_change(setting: str, value: Any) -> None:
    assert _record("osic_fvc", **{setting: value}).differences(_record("osic_fvc")) == []


def check(parser: ConfigParser) -> None:
    """The step of a configuration that compares its settings with the model's."""
    step = parser["initialize"].index("$model_files.check_given(@model_file)")
    parser.get_parsed_content(f"initialize::{step}")


def _record(bundle: str, **given: Any) -> TrainingRecord:
    parser = configured(bundle, "train", **{**SMALL[bundle], **given})
    return TrainingRecord(parser.get_parsed_content("settings"), {}, fold=0, seed=0, patients=[])
