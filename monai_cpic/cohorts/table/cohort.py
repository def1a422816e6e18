"""Any cohort: a table with one row for each scan or visit."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from ignite.metrics import Metric
from matplotlib.figure import Figure
from torch import Tensor

from monai_cpic.cohorts.base import Cohort
from monai_cpic.cohorts.baselines import Baseline
from monai_cpic.cohorts.folds import folds
from monai_cpic.cohorts.table.baselines import descriptions
from monai_cpic.cohorts.table.covariates import Covariates
from monai_cpic.cohorts.table.lines import check_columns, read_table
from monai_cpic.cohorts.table.scans import checked_scans, scan_paths
from monai_cpic.cohorts.table.targets import Target, target_kind
from monai_cpic.cohorts.tables import Problems, known_exclusions
from monai_cpic.data import LazyVolume
from monai_cpic.reporting.report import Report
from monai_cpic.reporting.sampling_figures import channel_positions

__all__ = ["TableCohort", "fit_table"]

logger = logging.getLogger(__name__)


class TableCohort(Cohort):
    """A target of any kind, from the scans and the covariates that a table names.

    The table has a row for each scan or visit.  The first column, or another one, names the patient; other columns name scans
    (one column for each image; their channels are joined), the target, and covariates.  Rows of one patient with the same scans
    are rows of one item; a patient may have several items, which are never in two folds.

    Items have ``patient`` (name), ``image`` and ``files`` (paths), ``covariates`` (float32 ``[V, P]``), ``label`` (float32
    ``[V, M]``, see :meth:`~monai_cpic.cohorts.table.targets.Target.labels`), ``values`` (float64 ``[V, M]``: the true values, NaN
    where they are not known) and ``stratum`` (for :func:`~monai_cpic.cohorts.folds`).

    Make a new one by :func:`fit_table`, which finds what a prediction depends on in the training patients, and that of a trained
    model by :meth:`from_settings`.

    Args:
        patient: name of the column of patients; None: the first.
        images: names of the columns of scans.
        channels: number of channels of all of them together.
        target: the target.
        covariates: the covariates.
        exclude: patients to leave out; they are counted and logged by name.
        target_known: leave out rows without a target, counted and logged; otherwise the table may lack it.
    """

    targets = ("label", "values", "stratum")
    rows = "rows"
    loss_caption = "Training loss, and the scores of the evaluated patients."

    def __init__(
        self,
        patient: str | None,
        images: Sequence[str],
        channels: int,
        target: Target,
        covariates: Covariates,
        exclude: Collection[str] = (),
        target_known: bool = True,
    ) -> None:
        self.patient = patient
        self.images = tuple(images)
        self.channels = images if channels == len(images) else tuple(f"channel {k}" for k in range(channels))
        self.target = target
        self.encoding = covariates
        self.covariates = covariates.meanings
        self.exclude = exclude
        self.target_known = target_known
        self.title = f"{target.columns[0]} from {', '.join(images)}"
        self.higher_is_better = target.higher_is_better
        self.scores_caption = target.scores_caption

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any], exclude: Collection[str] = (), target_known: bool = True) -> TableCohort:
        """The inverse of :attr:`settings`."""
        target = target_kind(settings["kind"], []).from_settings(settings["target"])
        covariates = Covariates.from_settings(settings["covariates"])
        return cls(
            settings["patient"], settings["images"], settings["channels"], target, covariates, exclude, target_known=target_known
        )

    @property
    def settings(self) -> dict[str, Any]:
        """What a prediction depends on, as plain values."""
        return {
            "patient": self.patient,
            "images": list(self.images),
            "channels": len(self.channels),
            "kind": self.target.kind,
            "target": self.target.settings,
            "covariates": self.encoding.settings,
        }

    @property
    def units(self) -> dict[str, str]:
        """Unit of each column of predictions."""
        return {self.target.columns[0]: "as in the table"}

    def read(self, dataset_dir: str | Path) -> list[dict[str, Any]]:
        """Read and check the table, see :meth:`~monai_cpic.cohorts.Cohort.read`.

        Args:
            dataset_dir: the table; paths in it are relative to its folder.

        Raises:
            FileNotFoundError: when the table, or a scan that it names, does not exist.
            ValueError: when entries are broken, or scans with known targets have other channels than those of the training.
        """
        path = Path(dataset_dir)
        items = self.items(path)
        if self.target_known:  # new scans are opened one by one, and a broken one does not stop the others
            checked_scans(path, [item["patient"] for item in items], [item["files"] for item in items], len(self.channels))
        return items

    def items(self, path: Path) -> list[dict[str, Any]]:
        """The items of :meth:`read`, whose scans exist but have not been opened."""
        columns = [*self.images, *self.encoding.names, *(self.target.columns if self.target_known else ())]
        lines = _lines(path, self.patient, columns, self.exclude)
        lines = lines.reindex(columns=list(dict.fromkeys([*lines.columns, *self.target.columns])), fill_value="")
        lines = _with_target(path, lines, self.target.columns) if self.target_known else lines
        problems = Problems(path, lines)
        self.encoding.check(lines, problems)
        values = self.target.values(lines, problems)
        problems.raise_if_any()
        scans = pd.Series(scan_paths(path, lines, self.images), lines.index)
        by_scan = lines.groupby([lines.iloc[:, 0], scans], sort=False).indices.items()
        parts = sorted(((patient, scan, rows) for (patient, scan), rows in by_scan), key=lambda part: part[0])
        means = np.stack([values[rows].mean(0) for _, _, rows in parts])
        strata = self.target.strata(means) if self.target_known else np.zeros(len(parts), int)
        return [
            {
                "patient": patient,
                "image": list(scan) if len(scan) > 1 else scan[0],
                "files": list(scan),
                "lines": lines.index[rows].tolist(),
                "covariates": torch.from_numpy(self.encoding.encode(lines.iloc[rows])).float(),
                "label": torch.from_numpy(self.target.labels(values[rows])).float(),
                "values": torch.from_numpy(values[rows]),
                "stratum": int(stratum),
            }
            for (patient, scan, rows), stratum in zip(parts, strata, strict=True)
        ]

    def in_units(self, data: Mapping[str, Any]) -> dict[str, Any]:
        return {**data, "pred": self.target.in_units(data["pred"])}

    def key_metric(self) -> dict[str, Metric]:
        return self.target.key_metric()

    def table(self, patients: Sequence[Mapping[str, Any]], outputs: Sequence[Tensor]) -> pd.DataFrame:
        if len(patients) != len(outputs):
            raise ValueError(f"got predictions for {len(outputs)} items, but a cohort of {len(patients)}.")
        named = [(item["patient"], line) for item in patients for line in item["lines"]]
        table = self.target.table(
            torch.cat([output.double().cpu() for output in outputs]).numpy(),
            torch.cat([item["values"] for item in patients]).numpy(),
        )
        table.insert(0, "patient", [patient for patient, _ in named])
        table.insert(1, "line", [line for _, line in named])
        return table

    def scores(self, table: pd.DataFrame) -> dict[str, float]:
        return self.target.scores(table)

    def baselines(self) -> Sequence[Baseline]:
        return self.target.baselines(descriptions(bool(self.covariates)))

    def report_evaluation(
        self, report: Report, patients: Sequence[Mapping[str, Any]], tables: Mapping[str, pd.DataFrame]
    ) -> None:
        self.target.report_evaluation(report, next(iter(tables.values())))

    def sampled_voxels(self, volume: LazyVolume, points: Tensor) -> Figure:
        return channel_positions(volume, points, self.channels)


def fit_table(
    table: str | Path,
    images: Sequence[str],
    target: str,
    event: str | None = None,
    kind: str | None = None,
    covariates: Sequence[str] = (),
    patient: str | None = None,
    exclude: Collection[str] = (),
    n_folds: int = 5,
    fold: int = 0,
    seed: int = 0,
) -> TableCohort:
    """The cohort of a table, with everything that predictions depend on found in the training patients of a fold.

    Args:
        table: the file, see :func:`~monai_cpic.cohorts.table.lines.read_table`.
        images: names of the columns of scans.
        target: name of the column of the target; of a survival, the time.
        event: of a survival, name of the column that says whether the time ended with the event.
        kind: of the target, one of ``"number"``, ``"classes"`` and ``"survival"``; None: by its values.
        covariates: names of the columns of covariates.
        patient: name of the column of patients; None: the first.
        exclude: patients to leave out.
        n_folds: see :func:`~monai_cpic.cohorts.folds`.
        fold: likewise.
        seed: likewise.

    Raises:
        FileNotFoundError: when the table, or a scan that it names, does not exist.
        ValueError: when a column is missing, entries are broken, or the target or a covariate cannot be used; the message says
            which and what to do.
    """
    path = Path(table)
    columns = [target, *([] if event is None else [event])]
    if isinstance(images, str) or not images or isinstance(covariates, str):
        raise ValueError(f"image_columns and covariates are lists of columns, such as ['ct'], got {images!r} and {covariates!r}.")
    known = _with_target(path, _lines(path, patient, [*images, *covariates, *columns], exclude), columns)
    problems = Problems(path, known)
    found = target_kind(kind, [known[column] for column in columns]).of(known, columns, problems)
    problems.raise_if_any()
    for name in covariates:
        if found.equals(known[name], known):
            raise ValueError(f"{path}: the covariate {name!r} equals the target {target!r}: leave it out of covariates=[...].")
    try:
        of_all = Covariates.fit(known, known, covariates)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    items = TableCohort(patient, images, 1, found, of_all, exclude).items(path)
    training, _ = folds(items, n_folds, fold, seed)
    encoding = Covariates.fit(known, known.loc[[line for item in training for line in item["lines"]]], covariates)
    (first,) = checked_scans(path, [training[0]["patient"]], [training[0]["files"]], None)
    fitted = found.fitted(torch.cat([item["values"] for item in training]).numpy())
    return TableCohort(patient, images, first.shape[0], fitted, encoding, exclude)


def _lines(path: Path, patient: str | None, columns: Sequence[str], exclude: Collection[str]) -> pd.DataFrame:
    """The lines of a table with the patient in the first column, without those of excluded patients."""
    table = read_table(path)
    first = patient or str(table.columns[0])
    check_columns(path, table, [first, *columns])
    table.insert(0, "patient of the line", table[first])
    problems = Problems(path, table)
    problems.add(table[first] == "", first, "expected a name")
    problems.raise_if_any()
    excluded = known_exclusions(exclude, set(table[first]), path)
    lines = table[~table[first].isin(excluded)]
    if lines.empty:
        raise ValueError(f"{path}: no line is left after the exclusions.")
    return lines


def _with_target(path: Path, lines: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """The lines with a target; the others are counted and logged."""
    known = (lines[list(columns)] != "").all(axis=1)
    if not known.any():
        raise ValueError(f"{path}: the target {', '.join(columns)} is empty in all {len(lines)} lines.")
    if not known.all():
        logger.warning("%s: %d of %d lines have no %s and are left out.", path, (~known).sum(), len(lines), columns[0])
    return lines[known]
