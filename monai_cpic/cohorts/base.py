"""The interface of cohorts, from their files to the report of a run."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from ignite.metrics import Metric
from matplotlib.figure import Figure
from torch import Tensor

from monai_cpic.cohorts.baselines.base import Baseline
from monai_cpic.cohorts.calibration import CannotCalibrateError
from monai_cpic.cohorts.intervals import Intervals
from monai_cpic.data import LazyVolume
from monai_cpic.reporting.report import Report
from monai_cpic.reporting.sampling_figures import sample_positions

__all__ = ["Cohort", "Explained"]


@dataclass(frozen=True)
class Explained:
    """Which number that a network predicts of a patient is explained place by place.

    Args:
        name: what it is, with its unit.
        covariates: for which row, ``[1, P]``.
        output: column of the network's outputs.
        unit: of this column, in the unit of the name.
    """

    name: str
    covariates: Tensor
    output: int = 0
    unit: float = 1.0


logger = logging.getLogger(__name__)


class Cohort(ABC):
    """How a cohort is read, what is predicted in which units, how predictions are scored, and what a report shows.

    Derive a class from it to train on patients of your own.  The arguments of your class are the choices that a user has, such as
    the table or the channels.  Constructing an object reads no files, so that a network can be built for the cohort without its
    data; only :meth:`read` opens them.  A configuration uses the object at each step: ``read`` for the data, ``in_units`` for the
    postprocessing of the engines, ``key_metric`` for their key metric, and
    :func:`~monai_cpic.cohorts.evaluation.write_evaluation` for the rest.  Implement the abstract methods; you may override the
    others.

    A patient may have several targets, such as one for each visit.  All predictions are therefore *rows*: ``R`` is the number of
    rows of all patients of a batch, ``V`` that of one patient.

    Attributes:
        title: title of the report.
        channels: names of the channels of ``image``.
        covariates: meanings of the columns of ``covariates``.
        targets: the entries of an item that contain the targets; baselines do not see them of the patients that they predict.
        rows: name of the rows of the table of predictions, in the plural, for the counts in metrics.json.
        intervals: the intervals of predictions, which are calibrated on patients who were held out; None: there are none.
        higher_is_better: whether a higher value of the key metric is better.
        scores_caption: the meanings and units of the scores, for the report.
        loss_caption: the meaning and unit of the learning curves, for the report.
    """

    title: str
    channels: Sequence[str]
    covariates: Sequence[str]
    targets: Sequence[str] = ("label",)
    rows: str = "patients"
    intervals: Intervals | None = None
    higher_is_better: bool
    scores_caption: str
    loss_caption: str

    @abstractmethod
    def read(self, dataset_dir: str | Path) -> list[dict[str, Any]]:
        """Read and check the tables, as a MONAI data list with one item for each patient.

        Args:
            dataset_dir: folder of the tables and scans.

        Returns:
            Items with ``patient`` (name), ``image`` (one path, or one for each channel), ``covariates`` (float32 ``[V, P]``),
            ``label`` (float32 ``[V, ...]``, in the units of the loss) and whatever else the other methods need of a patient.

        Raises:
            FileNotFoundError: when a table or folder does not exist.
            ValueError: when the files are broken; the message names all broken entries and says what to do.
        """

    @abstractmethod
    def in_units(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Convert an engine's output to the units of the table: the engine's postprocessing, with ``decollate=False``.

        Args:
            data: batch and output of an engine: ``pred`` ``[R, out_channels]`` and ``label`` ``[R, ...]`` hold the rows of all
                patients, the other entries are lists over patients.

        Returns:
            The same, with ``pred`` ``[R, Q]`` and ``label`` in the units of the table.
        """

    @abstractmethod
    def key_metric(self) -> dict[str, Metric]:
        """A new metric of the outputs of :meth:`in_units`, by its name, which compares the epochs of a training."""

    @abstractmethod
    def table(self, patients: Sequence[Mapping[str, Any]], outputs: Sequence[Tensor]) -> pd.DataFrame:
        """The table of predictions and known true values that is written to predictions.csv.

        Args:
            patients: items of :meth:`read`.
            outputs: for each patient a tensor ``[V, Q]``, in the units of :meth:`in_units`.

        Returns:
            One row for each row of the outputs, in their order.

        Raises:
            ValueError: when the predictions do not fit the patients.
        """

    @abstractmethod
    def scores(self, table: pd.DataFrame) -> dict[str, float]:
        """The scores of the rows of a table whose true value is known, by name; NaN if a score is not defined.

        One of them has the name of :meth:`key_metric`.  Rows may repeat: intervals are those of resampled patients.
        """

    @abstractmethod
    def baselines(self) -> Sequence[Baseline]:
        """New models that do not see the scans, to which a network is compared; make them hard to beat."""

    def counts(self, table: pd.DataFrame) -> dict[str, int]:
        """Further counts for metrics.json in addition to the number of patients, such as ``{"visits": 92}``; by default none."""
        return {}

    def groups(self, patients: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
        """Groups whose scores the report shows apart, such as men and women; by default none.

        Args:
            patients: items of :meth:`read`.

        Returns:
            A column for each division, with the name of the group of each row of :meth:`table`, and as many rows.
        """
        return pd.DataFrame()

    def by_patient(
        self, patients: Sequence[Mapping[str, Any]], outputs: Sequence[Tensor]
    ) -> tuple[Sequence[Mapping[str, Any]], Sequence[Tensor]]:
        """Join the items and outputs of each patient, for intervals; by default each item is a patient of its own.

        Args:
            patients: items of :meth:`read`; items of one patient follow each other.
            outputs: for each item a tensor ``[V, Q]``.

        Returns:
            Items, of which the truth of :attr:`intervals` can be asked, and outputs, with all rows in their order.
        """
        return patients, outputs

    def calibrate(self, patients: Sequence[Mapping[str, Any]], outputs: Sequence[Tensor]) -> dict[str, float] | None:
        """Calibrate the intervals on patients who were not trained on.

        Args:
            patients: items of :meth:`read`, with their true values.
            outputs: for each patient a tensor ``[V, Q]``, in the units of :meth:`in_units`.

        Returns:
            The calibration, plain values for the model file; None if there are no intervals, or, with a warning that says so, too
            few patients.
        """
        if self.intervals is None:
            return None
        try:
            return self.intervals.fit(*self.by_patient(patients, outputs))
        except CannotCalibrateError as error:
            logger.warning("The intervals of new patients will not be calibrated: %s", error)
            return None

    def is_better(self, metric: float, best: float) -> bool:
        """Whether a value of the key metric is better than the best so far (``metric_cmp_fn`` of MONAI's engines)."""
        return metric > best if self.higher_is_better else metric < best

    def report_evaluation(
        self, report: Report, patients: Sequence[Mapping[str, Any]], tables: Mapping[str, pd.DataFrame]
    ) -> None:
        """Add tables and figures of predictions whose true values are known; by default those of :meth:`report_predictions`.

        Args:
            report: the report, which already contains the scores and the learning curves.
            patients: items of :meth:`read`.
            tables: predictions by name of the model: the network first, then the best baseline, if there is one.
        """
        self.report_predictions(report, patients, next(iter(tables.values())))

    def report_predictions(self, report: Report, patients: Sequence[Mapping[str, Any]], table: pd.DataFrame) -> None:
        """Add tables and figures of predictions of new patients; by default the table itself.

        Args:
            report: the report.
            patients: items of :meth:`read`.
            table: their predictions.
        """
        report.add_table("Predictions", table)

    def explained(self, patient: Mapping[str, Any]) -> Explained:
        """Which number of a patient the report explains; by default the first output for the first row, in the units of the loss.

        Args:
            patient: an item of :meth:`read`.
        """
        return Explained("first output", patient["covariates"][:1])

    def sampled_voxels(self, volume: LazyVolume, points: Tensor) -> Figure:
        """Draw a volume and the voxels ``[N, 3]`` of it that the network encoded; by default slices of the first channel."""
        return sample_positions(volume, points)
