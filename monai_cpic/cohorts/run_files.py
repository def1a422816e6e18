"""What every run of a workflow leaves behind: metrics.json, predictions.csv and report.html."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from monai_cpic.data import LazyVolume
from monai_cpic.networks import CPICNet
from monai_cpic.reporting.report import Report, write_metrics

__all__ = ["add_sampled_voxels", "write_run"]

SCANS_SHOWN = 2


def add_sampled_voxels(
    report: Report, patients: Sequence[Mapping[str, Any]], network: CPICNet, draw: Callable[[LazyVolume, Tensor], Figure]
) -> None:
    """Add figures of where the network looks in the scans of the first patients.

    Args:
        report: the report.
        patients: items with ``patient`` and ``image``, a volume.
        network: sees the scans once more, in evaluation mode.
        draw: a figure from a volume and the encoded voxels, as :func:`~monai_cpic.reporting.sampling_figures.sample_positions`.
    """
    for item in patients[:SCANS_SHOWN]:
        network.eval()
        with torch.no_grad():
            network.bottleneck([item["image"]])
        points = network.bottleneck.sampled[0]
        shape = torch.tensor(item["image"].shape[1:])
        inside = int((points < shape).all(1).sum())
        report.add_figure(
            f"Where the network looked: {item['patient']}",
            draw(item["image"], points),
            f"{inside} of {shape.prod().item()} voxels were encoded, and {len(points) - inside} in the padding.",
        )


def write_run(output_dir: str | Path, table: pd.DataFrame, metrics: Mapping[str, Any], report: Report) -> None:
    """Write the three files.

    Args:
        output_dir: an existing or new folder.
        table: for predictions.csv.
        metrics: for metrics.json.
        report: for report.html.
    """
    output = Path(output_dir)
    output.mkdir(parents=True, exist_ok=True)
    table.to_csv(output / "predictions.csv", index=False)
    write_metrics(output / "metrics.json", metrics)
    report.write(output / "report.html")
