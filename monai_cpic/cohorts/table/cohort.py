"""Any cohort: a table with one row for each scan or visit."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from ignite.metrics import Metric
from matplotlib.figure import Figure
from torch import Tensor

from monai_cpic.cohorts.base import Cohort, Explained
from monai_cpic.cohorts.baselines import Baseline
from monai_cpic.cohorts.table.covariates import Covariates
from monai_cpic.cohorts.table.descriptions import descriptions
from monai_cpic.cohorts.table.lines import cohort_lines, with_target
from monai_cpic.cohorts.table.scans import checked_scans, scan_paths
from monai_cpic.cohorts.table.targets import Target, target_kind
from monai_cpic.cohorts.tables import Problems, listed
from monai_cpic.data import LazyVolume
from monai_cpic.reporting.report import Report
from monai_cpic.reporting.sampling_figures import channel_positions

__all__ = ["TableCohort"]

logger = logging.getLogger(__name__)


class TableCohort(Cohort):
    """A target of any kind, from the scans and the covariates that a table names.

    The table has a row for each scan or visit.  The first column, or another one, names the patient; other columns name scans
    (one column for each image; their channels are joined), the target, and covariates.  Rows of one patient with the same scans
    are rows of one item; a patient may have several items, which are never in two folds.

    Items have ``patient`` (name), ``image`` and ``files`` (paths), ``lines`` (their numbers in the file), ``covariates`` (float32
    ``[V, P]``), ``label`` (float32 ``[V, M]``, see :meth:`~monai_cpic.cohorts.table.targets.Target.labels`), ``values`` (float64
    ``[V, M]``: the true values, NaN where they are not known) and ``stratum`` (for :func:`~monai_cpic.cohorts.folds`).

    Make a new one by :func:`~monai_cpic.cohorts.fit_table`, which finds what predictions depend on in the training patients, and
    that of a trained model by :meth:`from_settings`.

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
        self.channels = self.images if channels == len(images) else tuple(f"channel {k}" for k in range(channels))
        self.target = target
        self.encoding = covariates
        self.covariates = covariates.meanings
        self.exclude = exclude
        self.target_known = target_known
        self.intervals = target.intervals
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
        known, targets = [*self.images, *self.encoding.names], self.target.columns
        if self.target_known:
            lines = with_target(path, cohort_lines(path, self.patient, [*known, *targets], self.exclude), targets)
        else:
            lines = cohort_lines(path, self.patient, known, self.exclude, optional=targets)
        items = self.items(path, lines)
        if self.target_known:  # new scans are opened one by one, and a broken one does not stop the others
            checked_scans(path, [item["patient"] for item in items], [item["files"] for item in items], len(self.channels))
        return items

    def items(self, path: Path, lines: pd.DataFrame) -> list[dict[str, Any]]:
        """The items of :meth:`read`, whose scans have not been opened; they exist if their targets are known.

        Args:
            path: of the table.
            lines: of :func:`~monai_cpic.cohorts.table.lines.cohort_lines`.
        """
        problems = Problems(path, lines)
        self.encoding.check(lines, problems)
        of_target = problems if self.target_known else Problems(path, lines)
        values = self.target.values(lines, of_target)
        problems.raise_if_any()
        if not self.target_known and of_target.found:
            found = len(of_target.found), listed(of_target.found)
            logger.warning("%s: %d targets cannot be read and are taken for unknown:\n  %s", path, *found)
        scans = pd.Series(scan_paths(path, lines, self.images, self.target_known), lines.index)
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

    def by_patient(
        self, patients: Sequence[Mapping[str, Any]], outputs: Sequence[Tensor]
    ) -> tuple[Sequence[Mapping[str, Any]], Sequence[Tensor]]:
        pairs = zip(patients, outputs, strict=True)
        joined = [list(own) for _, own in groupby(pairs, key=lambda pair: pair[0]["patient"])]
        items = [{"patient": own[0][0]["patient"], "values": torch.cat([item["values"] for item, _ in own])} for own in joined]
        return items, [torch.cat([output for _, output in own]) for own in joined]

    def baselines(self) -> Sequence[Baseline]:
        return self.target.baselines(descriptions(bool(self.covariates)))

    def report_evaluation(
        self, report: Report, patients: Sequence[Mapping[str, Any]], tables: Mapping[str, pd.DataFrame]
    ) -> None:
        self.target.report_evaluation(report, next(iter(tables.values())))

    def explained(self, patient: Mapping[str, Any]) -> Explained:
        return self.target.explained(patient["covariates"][:1])

    def sampled_voxels(self, volume: LazyVolume, points: Tensor) -> Figure:
        return channel_positions(volume, points, self.channels)
