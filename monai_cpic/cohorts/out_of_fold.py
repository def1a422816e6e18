"""Predictions of all patients of a cohort, each by the network of the fold that held the patient out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from monai_cpic.cohorts.base import Cohort
from monai_cpic.cohorts.baselines import predictions_of_baselines
from monai_cpic.cohorts.evaluation import write_comparison
from monai_cpic.cohorts.folds import folds
from monai_cpic.cohorts.predictions import PatientPredictions
from monai_cpic.cohorts.provenance import Provenance
from monai_cpic.handlers import History
from monai_cpic.model_files.model_file import load_plain
from monai_cpic.networks import VolumeRegressor
from monai_cpic.staging import write_whole

__all__ = ["HELD_OUT", "read_held_out", "write_held_out", "write_out_of_fold_evaluation"]

HELD_OUT = "held_out.pt"  # the last file of a fold, so that a fold with it has finished


def write_held_out(folder: str | Path, **predictions: PatientPredictions) -> None:
    """Write the predictions of models for the patients of a fold, by patient, to ``held_out.pt``.

    Args:
        folder: the folder of the fold.
        predictions: by name of the model.
    """
    content = {model: _by_patient(given.items, given.outputs) for model, given in predictions.items()}
    with write_whole(Path(folder) / HELD_OUT) as unfinished:
        torch.save(content, unfinished)


def read_held_out(
    folders: Sequence[Path], patients: Sequence[Mapping[str, Any]], transform: Callable[[Any], Any]
) -> dict[str, PatientPredictions]:
    """Predictions from the files of all folds, in the order of the patients.

    Args:
        folders: the folders of the folds.
        patients: items of all patients.
        transform: opens the scans.

    Returns:
        The predictions of each model, by its name as given to :func:`write_held_out`.

    Raises:
        ValueError: if the files hold other patients.
    """
    found: dict[str, dict[str, list[Tensor]]] = {}
    for folder in folders:
        for model, outputs in load_plain(folder / HELD_OUT).items():
            found.setdefault(model, {}).update(outputs)
    items = [transform(item) for item in patients]
    predictions = {}
    for model, outputs in found.items():
        if changed := sorted({item["patient"] for item in patients} ^ outputs.keys()):
            raise ValueError(
                f"{folders[0].parent} holds folds of other patients ({', '.join(changed[:5])}): train without resume."
            )
        predictions[model] = PatientPredictions()
        predictions[model].items = items
        predictions[model].outputs = _in_order(outputs, patients)
    return predictions


def write_out_of_fold_evaluation(
    output_dir: str | Path,
    cohort: Cohort,
    n_folds: int,
    seed: int,
    predictions: PatientPredictions,
    covariates_only: PatientPredictions,
    network: VolumeRegressor,
    provenance: Provenance,
) -> dict[str, Any]:
    """Compare the networks of all folds with models that do not see the scans, on all patients, and write the run's files.

    Every model predicts a patient as it was trained, or fitted, without the patient's fold.

    Args:
        output_dir: an existing or new folder.
        cohort: the cohort.
        n_folds: number of folds.
        seed: seed of the folds.
        predictions: predictions of the networks, for all patients.
        covariates_only: predictions of the models on covariates only, for the same patients.
        network: the mean of the networks, for its name and the voxels that it encodes.
        provenance: of the predictions.

    Returns:
        The metrics, as :func:`~monai_cpic.cohorts.write_evaluation`, with ``folds`` instead of ``training_patients``.
    """
    patients = predictions.items
    found: dict[str, dict[str, list[Tensor]]] = {}
    for fold in range(n_folds):
        training, held_out = folds(patients, n_folds, fold, seed)
        for name, outputs in predictions_of_baselines(cohort.baselines(), training, held_out, cohort.targets).items():
            found.setdefault(name, {}).update(_by_patient(held_out, outputs))
    baselines = {name: _in_order(outputs, patients) for name, outputs in found.items()}
    counts = {"folds": n_folds}
    return write_comparison(output_dir, cohort, predictions, covariates_only, baselines, network, History(), provenance, counts)


def _by_patient(items: Sequence[Mapping[str, Any]], outputs: Sequence[Tensor]) -> dict[str, list[Tensor]]:
    """The outputs of each patient, who may have several items, in their order."""
    found: dict[str, list[Tensor]] = {}
    for item, output in zip(items, outputs, strict=True):
        found.setdefault(item["patient"], []).append(output)
    return found


def _in_order(outputs: Mapping[str, Sequence[Tensor]], items: Sequence[Mapping[str, Any]]) -> list[Tensor]:
    """The output of each item: the inverse of :func:`_by_patient`."""
    of_patient = {patient: iter(own) for patient, own in outputs.items()}
    return [next(of_patient[item["patient"]]) for item in items]
