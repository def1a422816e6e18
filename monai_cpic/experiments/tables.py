"""The paper's Tables 1 and 2: the settings of a bundle for each row, and the figures that the paper reports for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["TABLES", "Figures", "Row", "Table"]


@dataclass(frozen=True)
class Figures:
    """The figures of one row.

    Args:
        metric: value of the table's metric.
        epoch: seconds of training per epoch.
        prediction: seconds of prediction per patient.
        memory: peak memory, GiB.
        parameters: number of parameters of the network.
    """

    metric: float | None = None
    epoch: float | None = None
    prediction: float | None = None
    memory: float | None = None
    parameters: float | None = None


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Args:
        name: a name that is unique in its table.
        configs: names of the bundle's configurations; later ones override earlier ones.
        overrides: settings that override the configurations.
        paper: the figures that the paper reports; None for rows that are not in the paper.
        doubled: whether the resolution is doubled.
    """

    name: str
    configs: Sequence[str] = ("train.yaml",)
    overrides: Mapping[str, Any] = field(default_factory=dict)
    paper: Figures | None = None
    doubled: bool = False


@dataclass(frozen=True)
class Table:
    """One table.

    Args:
        bundle: folder of the bundle in ``bundles/``.
        metric: key of the metric among a model's scores in metrics.json.
        label: heading of the metric's column.
        grid: the paper's grid at native resolution.
        rows: the rows.
        doubling: settings of rows at twice the resolution, in addition to the grid.
        references: keys in metrics.json of models that do not see the scans, which every run trains.
    """

    bundle: str
    metric: str
    label: str
    grid: tuple[int, int, int]
    rows: Sequence[Row]
    doubling: Mapping[str, Any] = field(default_factory=dict)
    references: Sequence[str] = ()


PAPER = ("train.yaml", "paper.yaml")
RESNET = {"network_def": "@resnet_def", "float64": False, "batch_size": 2}  # the paper's batch size, limited by memory
OVERSAMPLED = {"oversampling": 1.5}
RESIZED = {"voxels": "resized"}  # to the table's grid, as the others


def _voxels(channels: int) -> dict[str, Any]:
    """A tensor train of the voxels themselves."""
    return {"encoder": {"_target_": "monai_cpic.networks.VoxelEncoder", "in_channels": channels}}


TABLE_1 = Table(
    bundle="osic_fvc",
    metric="score",
    label="mLLL (higher is better)",
    grid=(512, 512, 32),
    rows=[
        Row("ResNet-34", PAPER, RESNET, Figures(-6.86, 4650, 0.2, 7.0, 67e6)),
        Row("ResNet-34, doubled", PAPER, RESNET, Figures(memory=57.9, parameters=67e6), doubled=True),
        Row("TT + MLP", PAPER, _voxels(1), Figures(-6.91, 27534, 14.9, 1.0, 64e3)),
        Row("C-PIC", PAPER, {}, Figures(-6.73, 51480, 25.2, 3.5, 87e3)),
        Row("C-PIC, doubled", PAPER, {}, Figures(-6.73, 62478, 46.1, 4.2, 87e3), doubled=True),
        Row("C-PIC, 1.5-fold oversampling", PAPER, OVERSAMPLED),
        Row("our default", overrides=RESIZED),
        Row("our default, doubled", overrides=RESIZED, doubled=True),
    ],
    doubling={"freezing::0::mode": 3},  # cubic splines
    references=["covariates_only", "ridge", "baseline_and_mean_slope", "constant"],
)

TABLE_2 = Table(
    bundle="brats_survival",
    metric="rmse_days",
    label="RMSE, days (lower is better)",
    grid=(256, 256, 256),
    rows=[
        Row("ResNet-34", PAPER, RESNET, Figures(48.7, 519, 0.3, 14.0, 67e6)),
        Row("TT + MLP", PAPER, _voxels(4), Figures(83.9, 646, 2.9, 4.2, 3e3)),
        Row("C-PIC n_dims 32, r 10", PAPER, {"n_dims": 32}, Figures(48.2, 3300, 13.4, 8.9, 37e3)),
        Row("C-PIC n_dims 16, r 10", PAPER, {"n_dims": 16}, Figures(49.1, 2979, 12.8, 8.7, 27e3)),
        Row("C-PIC n_dims 8, r 10", PAPER, {"n_dims": 8}, Figures(51.1, 2883, 12.1, 7.9, 21e3)),
        Row("C-PIC n_dims 8, r 10, doubled", PAPER, {"n_dims": 8}, Figures(51.2, 16560, 79.0, 45.5, 21e3), doubled=True),
        Row("C-PIC n_dims 8, r 12", PAPER, {"n_dims": 8, "rank": 12}, Figures(51.1, 5520, 27.9, 13.4, 21e3)),
        Row("C-PIC n_dims 8, r 15", PAPER, {"n_dims": 8, "rank": 15}, Figures(51.1, 7140, 35.8, 18.6, 22e3)),
        Row("C-PIC n_dims 32, 1.5-fold oversampling", PAPER, {"n_dims": 32, **OVERSAMPLED}),
        Row("C-PIC n_dims 32, ridge readout", PAPER, {"n_dims": 32, **OVERSAMPLED, "readout": "@fine"}),
        Row("our default"),
        Row("our default, doubled", doubled=True),
    ],
    doubling={"zoom": 2},
    references=["covariates_only", "ridge_on_age_and_resection", "cox_on_age_and_resection", "ridge_on_age", "mean"],
)

TABLES = {"table1": TABLE_1, "table2": TABLE_2}
