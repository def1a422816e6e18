"""The predictions of an evaluator, collected patient by patient."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ignite.engine import Engine, Events
from torch import Tensor

__all__ = ["PatientPredictions", "number_of_patients"]


def number_of_patients(items: Iterable[Mapping[str, Any]]) -> int:
    """The number of different patients; one may have several scans."""
    return len({item["patient"] for item in items})


class PatientPredictions:
    """Collect the patients of an evaluator's run and their predictions.

    Batches are lists over patients; outputs contain the rows of all patients (:class:`~monai_cpic.handlers.PrepareRows`).

    Attributes:
        items: the patients' items, in the order of the run.
        outputs: for each patient a tensor ``[V, Q]``, on the CPU.
    """

    def __init__(self) -> None:
        self.items: list[dict[str, Any]] = []
        self.outputs: list[Tensor] = []

    def attach(self, engine: Engine) -> None:
        """Register with an evaluator."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._reset)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Collect one batch."""
        batch: Any = engine.state.batch
        output: Any = engine.state.output
        self.items += [dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True)]
        rows = [len(covariates) for covariates in batch["covariates"]]
        self.outputs += output["pred"].detach().cpu().split(rows)

    def _reset(self, engine: Engine) -> None:
        self.items, self.outputs = [], []
