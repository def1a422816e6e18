"""What a report shows of single scans: why a prediction, and where the scan was sampled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import torch

from monai_cpic.cohorts.base import Cohort
from monai_cpic.networks import Attribution, VolumeRegressor
from monai_cpic.reporting.contribution_figures import contributions
from monai_cpic.reporting.contribution_map import write_contribution_map
from monai_cpic.reporting.report import Report

__all__ = ["add_scans", "write_maps"]

SCANS_SHOWN = 2


def add_scans(report: Report, cohort: Cohort, network: VolumeRegressor, patients: Sequence[Mapping[str, Any]]) -> None:
    """Add figures of the first scans to a report: what each place contributes, and which voxels were encoded.

    What is not known of a network is left out.

    Args:
        report: the report.
        cohort: the cohort.
        network: the network.
        patients: items with opened volumes.
    """
    for item in patients[:SCANS_SHOWN]:
        _explain(report, cohort, network, item)
        _show_sampled(report, cohort, network, item)


def write_maps(folder: Path, cohort: Cohort, network: VolumeRegressor, patients: Sequence[Mapping[str, Any]]) -> None:
    """Write what places contribute to each patient's prediction to ``<patient>.nii.gz``; characters that a file name cannot have
    are written as in a URL.  Several scans of a patient are ``<patient>_1.nii.gz`` and so on, in the order of the predictions.

    Args:
        folder: an existing or new folder.
        cohort: the cohort.
        network: the network.
        patients: items with opened volumes.

    Raises:
        ValueError: if this is not known of the network.
    """
    scans, seen = Counter(item["patient"] for item in patients), Counter[str]()
    for item in patients:
        name = quote(item["patient"], safe=" ")
        seen[name] += 1
        found = _attributed(cohort, network, item)
        if found is None:
            raise ValueError(f"maps: what places contribute to a prediction is not known of {network.name}: set maps to false.")
        number = f"_{seen[name]}" if scans[item["patient"]] > 1 else ""
        write_contribution_map(folder / f"{name}{number}.nii.gz", item["image"], found)


def _attributed(cohort: Cohort, network: VolumeRegressor, item: Mapping[str, Any]) -> Attribution | None:
    """What places contribute to the prediction of a patient, in the unit that the cohort names."""
    explained = cohort.explained(item)
    found = network.attributed(item["image"], explained.covariates, explained.output)
    return None if found is None else found.scaled(explained.unit)


def _explain(report: Report, cohort: Cohort, network: VolumeRegressor, item: Mapping[str, Any]) -> None:
    """Add the figure of what places contribute to a prediction, if that is known of the network."""
    found = _attributed(cohort, network, item)
    if found is None:
        return
    report.add_figure(
        f"Why this prediction: {item['patient']}",
        contributions(item["image"], found, cohort.explained(item).name),
        "By how much the structure at each place (edges and texture within a few voxels) lowers (red) or raises (blue) the "
        "prediction, smoothed. This is what the model computed from, which need not be what the disease does.",
    )


def _show_sampled(report: Report, cohort: Cohort, network: VolumeRegressor, item: Mapping[str, Any]) -> None:
    """Add the figure of the voxels that were encoded, unless the network sees every voxel."""
    points = network.sampled_points(item["image"])
    if points is None:
        return
    shape = torch.tensor(item["image"].shape[1:])
    inside = int((points.cpu() < shape).all(1).sum())
    report.add_figure(
        f"Where it was sampled: {item['patient']}",
        cohort.sampled_voxels(item["image"], points),
        f"{inside} of {shape.prod().item()} voxels were encoded, and {len(points) - inside} in the padding. Most of them are "
        "chosen before anything is known of the scan: this is not what the prediction depends on.",
    )
