"""The learning curve of a training, which continues when the training is resumed."""

from __future__ import annotations

from typing import Any

import ignite.distributed as idist
from ignite.engine import Engine, Events

__all__ = ["History"]


class History:
    """The mean training loss of each epoch, over all processes, and the metrics of each validation; saved in checkpoints.

    Args:
        evaluator: the validation's engine, whose metrics are recorded; default: none.

    Attributes:
        rows: one dictionary per epoch with ``epoch``, ``loss`` and, after a validation, its metrics.
    """

    def __init__(self, evaluator: Engine | None = None) -> None:
        self.rows: list[dict[str, float]] = []
        self.losses: list[float] = []
        if evaluator is not None:
            evaluator.add_event_handler(Events.COMPLETED, self._metrics)

    def attach(self, engine: Engine) -> None:
        """Register with a trainer; must be attached before its validation handler."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._iteration)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._epoch)

    def state_dict(self) -> dict[str, Any]:
        """The rows, as lists, dictionaries and numbers."""
        return {"rows": self.rows}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of :meth:`state_dict`."""
        self.rows = [dict(row) for row in state["rows"]]

    def _iteration(self, engine: Engine) -> None:
        output: Any = engine.state.output
        self.losses.append(output["loss"].item())

    def _epoch(self, engine: Engine) -> None:
        loss = float(idist.all_reduce(sum(self.losses) / len(self.losses))) / idist.get_world_size()
        self.rows.append({"epoch": engine.state.epoch, "loss": loss})
        self.losses.clear()

    def _metrics(self, engine: Engine) -> None:
        if self.rows:
            for name, value in engine.state.metrics.items():  # the first of an epoch: later ones may be of chosen weights
                self.rows[-1].setdefault(name, float(value))
