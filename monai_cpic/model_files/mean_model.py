"""The networks of all folds as one model, which predicts by their mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from monai_cpic.model_files.model_file import ModelFile, read_model
from monai_cpic.model_files.record import ALL_FOLDS

__all__ = ["mean_model"]


def mean_model(path: str | Path, files: Sequence[str | Path], device: str | torch.device = "cpu") -> ModelFile:
    """Join model files to one, whose network is the :class:`~monai_cpic.networks.Ensemble` of theirs.

    Its settings are those of the files, but ``network_def`` is the ensemble, and ``member`` how each of its networks is built.
    Its fold is ``"all"``, its patients are those of all files, and it has nothing fitted.

    Args:
        path: the file that will be written, by :func:`~monai_cpic.model_files.write_model`.
        files: the files, of trainings that differ in their fold only.
        device: the device of the weights.

    Raises:
        ValueError: if the trainings differ in more than their fold and patients.
    """
    first, *others = models = [read_model(file, device) for file in files]
    for other in others:
        alike = replace(other.record, fold=first.record.fold, patients=first.record.patients)
        first.check_same_training(replace(other, record=alike))
    ensemble = {"_target_": "monai_cpic.networks.Ensemble", "network": "@member", "members": len(models)}
    settings = {**first.record.settings, "member": first.record.settings["network_def"], "network_def": ensemble}
    patients = sorted({patient for model in models for patient in model.record.patients})
    record = replace(first.record, settings=settings, fold=ALL_FOLDS, patients=patients)
    weights = {f"networks.{number}.{name}": value for number, model in enumerate(models) for name, value in model.weights.items()}
    return ModelFile(Path(path), record, weights, {})
