"""What a cohort is: one description, from its files to the report of a run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from ignite.metrics import Metric
from matplotlib.figure import Figure
from torch import Tensor

from monai_cpic.data import LazyVolume
from monai_cpic.reporting.report import Report
from monai_cpic.reporting.sampling_figures import sample_positions

__all__ = ["Cohort"]


class Cohort(ABC):
    """One description of a cohort: how to read it, what is predicted in which units, how it is scored, and what a report shows.

    Derive from it to train on patients of your own.  The arguments of your class are the choices that a user has (which table,
    which channels).  An object of it touches no files until :meth:`read` is called, so that a network can be built from it alone.
    A configuration refers to it at each step: ``read`` gives the data, ``in_units`` is the engines' postprocessing,
    ``key_metric`` their key metric, and :func:`~monai_cpic.cohorts.evaluation.write_evaluation` asks for the rest.  What is
    abstract has to be written, the other methods may be overridden.

    A patient may have several targets, such as one for each visit.  Everything that is predicted is therefore *rows*: ``R`` rows
    for all the patients of a batch, ``V`` for one of them.

    Attributes:
        title: of the report.
        channels: names of the channels of ``image``.
        covariates: what the columns of ``covariates`` mean.
        rows: what one row of the table of predictions is, in the plural, for the counts in metrics.json.
        higher_is_better: whether a higher value of the key metric is a better one.
        scores_caption: what the scores mean, and their units.
        loss_caption: what the learning curves show, and their units.
    """

    title: str
    channels: Sequence[str]
    covariates: Sequence[str]
    rows: str = "patients"
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
            ValueError: when the files are broken; the message names all broken entries and the way out.
        """

    @abstractmethod
    def in_units(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Bring an engine's output to the units of the table: its postprocessing, with ``decollate=False``.

        Args:
            data: batch and output of an engine: ``pred`` ``[R, out_channels]`` and ``label`` ``[R, ...]`` hold the rows of all
                patients, the items' other entries are lists over patients.

        Returns:
            The same with ``pred`` ``[R, Q]`` and ``label`` in the units of the table.
        """

    @abstractmethod
    def key_metric(self) -> dict[str, Metric]:
        """A new metric of the outputs of :meth:`in_units`, under its name: what a training is judged by."""

    @abstractmethod
    def table(self, patients: Sequence[Mapping[str, Any]], outputs: Sequence[Tensor]) -> pd.DataFrame:
        """Lay out predictions, with what is known of the truth beside them: predictions.csv.

        Args:
            patients: items of :meth:`read`.
            outputs: for each of them ``[V, Q]``, in the units of :meth:`in_units`.

        Raises:
            ValueError: when the predictions do not fit the patients.
        """

    @abstractmethod
    def scores(self, table: pd.DataFrame) -> dict[str, float]:
        """The scores of a table, of the rows whose truth is known; NaN where a score is not defined."""

    @abstractmethod
    def references(
        self, training: Sequence[Mapping[str, Any]], patients: Sequence[Mapping[str, Any]]
    ) -> dict[str, Sequence[Tensor]]:
        """Predictions of simple models that do not see the scans, by name, each as :meth:`table` takes them.

        Args:
            training: the patients to learn from.
            patients: the patients to predict.
        """

    def counts(self, table: pd.DataFrame) -> dict[str, int]:
        """How many of what are scored, beside the patients, such as ``{"visits": 92}``; by default nothing."""
        return {}

    def is_better(self, metric: float, best: float) -> bool:
        """Compare values of the key metric, as MONAI's engines do (``metric_cmp_fn``)."""
        return metric > best if self.higher_is_better else metric < best

    def report_evaluation(self, report: Report, table: pd.DataFrame, network: str) -> None:
        """Add tables and figures of predictions whose truth is known; by default those of :meth:`report_predictions`.

        Args:
            report: holds the scores and the learning curves already.
            table: of the network's predictions.
            network: the network's name.
        """
        self.report_predictions(report, table)

    def report_predictions(self, report: Report, table: pd.DataFrame) -> None:
        """Add tables and figures of predictions of new patients; by default the table itself."""
        report.add_table("Predictions", table)

    def sampled_voxels(self, volume: LazyVolume, points: Tensor) -> Figure:
        """Draw a volume and the voxels ``[N, 3]`` of it that the network encoded; by default slices of the first channel."""
        return sample_positions(volume, points)
