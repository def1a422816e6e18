"""What an evaluator predicts, collected patient by patient."""

from __future__ import annotations

from typing import Any

from ignite.engine import Engine, Events
from torch import Tensor

__all__ = ["PatientPredictions"]


class PatientPredictions:
    """Collect the patients of an evaluator's run and what was predicted for them.

    Batches hold lists over patients, outputs the rows of all (:class:`~monai_cpic.handlers.PrepareRows`).

    Attributes:
        items: the patients, in the order of the run.
        outputs: for each patient ``[V, Q]``, on the CPU.
    """

    def __init__(self) -> None:
        self.items: list[dict[str, Any]] = []
        self.outputs: list[Tensor] = []

    def attach(self, engine: Engine) -> None:
        """Register with an evaluator."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._reset)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Take in one batch."""
        batch: Any = engine.state.batch
        output: Any = engine.state.output
        self.items += [dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True)]
        rows = [len(covariates) for covariates in batch["covariates"]]
        self.outputs += output["pred"].detach().cpu().split(rows)

    def _reset(self, engine: Engine) -> None:
        self.items, self.outputs = [], []
