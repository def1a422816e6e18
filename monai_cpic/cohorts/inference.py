"""Predictions of many scans: patient by patient, written as they finish, past scans that are broken."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import pandas as pd
import torch
from ignite.engine import Engine, Events
from monai.data import Dataset
from monai.engines import SupervisedEvaluator
from tqdm import tqdm

from monai_cpic.cohorts.csv_files import write_table
from monai_cpic.cohorts.predictions import PatientPredictions
from monai_cpic.cohorts.results import remove_results
from monai_cpic.cohorts.written import WrittenPredictions
from monai_cpic.data import list_collate
from monai_cpic.errors import reason
from monai_cpic.handlers import ScreenScans

__all__ = ["PatientInference"]

FAILURES = "failures.csv"


class PatientInference:
    """Predict the patients of a data set one after the other, and write each prediction as soon as there is one.

    Of several processes (:func:`~monai_cpic.distributed.join_processes`) each takes its share.  A scan that cannot be opened or
    read does not stop the others.  An interrupted run can be gone on with, by any number of processes.

    Args:
        evaluator: the engine; it is given one patient at a time, so that its ``epoch_length`` is 1.
        dataset: items of a :class:`~monai_cpic.cohorts.Cohort`, and the transforms that open their scans.
        predictions: a handler of the evaluator; after :meth:`run` it holds all patients, with the scans of the first ones open.
        screening: a handler of the evaluator, too; after :meth:`run` it holds what is odd about the scans of all patients.
        model: file of the network, by which predictions of another one are recognised.
        output_dir: folder of ``predictions.jsonl``, with one line for each patient as it finishes, and ``failures.csv``.
        resume: predict only what is not predicted in ``output_dir``; otherwise what is there is removed.
        opened: number of patients whose scans are opened again after :meth:`run`, for the report and its maps.
    """

    def __init__(
        self,
        evaluator: SupervisedEvaluator,
        dataset: Dataset,
        predictions: PatientPredictions,
        screening: ScreenScans,
        model: str | Path,
        output_dir: str | Path,
        resume: bool = False,
        opened: int = 2,
    ) -> None:
        self.evaluator = evaluator
        self.dataset = dataset
        self.predictions = predictions
        self.screening = screening
        self.output_dir = Path(output_dir)
        self.written = WrittenPredictions(self.output_dir, Path(model))
        self.resume = resume
        self.opened = opened
        self.failures = pd.DataFrame()
        self._error: BaseException | None = None
        evaluator.add_event_handler(Events.EXCEPTION_RAISED, self._note)
        evaluator.logger = logging.getLogger(f"{__name__}.engine")
        evaluator.logger.setLevel(logging.CRITICAL)  # it would tell of the start and end of each patient

    def run(self) -> None:
        """Predict this process's share, wait for the others, and put all predictions together.

        Raises:
            ValueError: if ``resume`` finds predictions of another model.
            RuntimeError: if no scan could be predicted.
        """
        rank, items = idist.get_rank(), self.dataset.data
        if rank == 0:
            self.written.start(self.resume)
            remove_results(self.output_dir)
        idist.barrier()
        known = self.written.read()
        missing = [number for number, item in enumerate(items) if "pred" not in known.get(_name(item), {})]
        share = missing[rank :: idist.get_world_size()]
        idist.barrier()  # until all have read: a prediction of one process would change the shares of the others
        with self.written.appending(rank) as append:
            for number in tqdm(share, "predicting", disable=True if rank else None):
                append(_name(items[number]), self._predicted(number))
        idist.barrier()
        if rank == 0:
            self._gather(self.written.collect())

    def check(self) -> None:
        """Check that every scan was predicted, at the end of a run.

        Raises:
            RuntimeError: if not.
        """
        if len(self.failures):
            raise RuntimeError(
                f"{len(self.failures)} of {len(self.dataset.data)} scans were not predicted: {self.output_dir / FAILURES} has "
                "the reasons; mend them and resume"
            )

    def _predicted(self, number: int) -> dict[str, Any]:
        """The prediction of a patient, or why there is none."""
        self._error = None
        try:
            self.evaluator.data_loader = [list_collate([self.dataset[number]])]
            self.evaluator.run()
        except Exception as error:
            self._error = error
        if self._error is not None:
            found = reason(self._error)
            return {"error": f"{type(found).__name__}: {found}"}
        return {"pred": self.predictions.outputs[0].tolist(), "warnings": self.screening.warnings[-1]}

    def _note(self, engine: Engine, error: BaseException) -> None:
        """What the engine, which does not raise it, came upon."""
        if not isinstance(error, Exception):  # such as an interrupt
            raise error
        self._error = error

    def _gather(self, found: Mapping[str, Mapping[str, Any]]) -> None:
        items = self.dataset.data
        results = [found[_name(item)] for item in items]
        done = [number for number, result in enumerate(results) if "pred" in result]
        failed = [
            {"patient": item["patient"], "image": item["image"], "reason": result["error"]}
            for item, result in zip(items, results, strict=True)
            if "pred" not in result
        ]
        self.failures = pd.DataFrame(failed)
        (self.output_dir / FAILURES).unlink(missing_ok=True)
        if failed:
            write_table(self.output_dir / FAILURES, self.failures)
        if not done:
            self.check()
        shown = done[: self.opened]
        self.predictions.items = [self.dataset[number] if number in shown else items[number] for number in done]
        self.screening.warnings = [results[number]["warnings"] for number in done]
        self.predictions.outputs = [torch.tensor(results[number]["pred"]) for number in done]


def _name(item: Mapping[str, Any]) -> str:
    """What the prediction of an item depends on: a patient may have several scans, and a scan other covariates than before."""
    return json.dumps([item["patient"], item["image"], item["covariates"].tolist()], default=str)
