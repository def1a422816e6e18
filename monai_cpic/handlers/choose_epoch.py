"""Keep the weights of the epoch that predicts patients best who were set aside for this choice, and stop when none is better."""

from __future__ import annotations

import copy
import logging
import math
import sys
from typing import Any, Literal

import torch
from ignite.engine import Engine, Events
from ignite.handlers import EarlyStopping
from monai.engines import Evaluator
from monai.handlers import ValidationHandler

__all__ = ["ChooseEpoch"]

logger = logging.getLogger(__name__)


class ChooseEpoch:
    """Let a training end with the weights that had the best key metric, and early when there is no better one for long.

    The patients of the evaluator must neither be trained on, nor be those whose scores are reported: the best of many scores is
    an optimistic one.  Without such patients a training keeps its last weights.  The best weights so far are a part of this
    object's state, and so of checkpoints: a resumed training chooses as an uninterrupted one.

    Args:
        evaluator: predicts the patients who choose, and has a key metric; where that is not defined (NaN), every other is better.
        network: whose weights are kept.
        higher_is_better: whether a higher value of the key metric is better.
        interval: number of epochs between two evaluations; attach this handler after
            :class:`~monai_cpic.handlers.RefreshHandler` with the same interval.
        patience: number of evaluations without a better value after which the training stops; None: it never does.

    Raises:
        ValueError: if there is a patience, but no patient who chooses.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        network: torch.nn.Module,
        higher_is_better: bool,
        interval: int = 1,
        patience: int | None = None,
    ) -> None:
        self.chosen_by = len(evaluator.data_loader)  # type: ignore[arg-type]  # batches; MONAI allows any iterable
        if patience is not None and not self.chosen_by:
            raise ValueError(f"patience={patience} needs patients who are not trained on: set some aside, such as tuning=0.2")
        self.evaluator = evaluator
        self.network = network
        self.worst = -math.inf if higher_is_better else math.inf
        self.mode: Literal["min", "max"] = "max" if higher_is_better else "min"
        self.interval = interval
        self.patience = sys.maxsize if patience is None else patience
        self.epoch = 0  # the best one; 0: none was evaluated
        self.weights: dict[str, Any] = {}

    def attach(self, engine: Engine) -> None:
        """Register with a trainer."""
        self.trainer = engine
        self.stopping = EarlyStopping(self.patience, self._score, engine, mode=self.mode)
        if self.chosen_by:
            self.evaluator.add_event_handler(Events.COMPLETED, self)
            ValidationHandler(self.interval, self.evaluator).attach(engine)
            engine.add_event_handler(Events.COMPLETED, self._choose)

    def __call__(self, evaluator: Engine) -> None:
        """Compare an evaluation with those before."""
        self.stopping(evaluator)
        if self.stopping.counter == 0:  # evaluations since the best one
            self.epoch = self.trainer.state.epoch
            self.weights = copy.deepcopy(self.network.state_dict())

    def state_dict(self) -> dict[str, Any]:
        """The best epoch, its weights and score, and the number of evaluations since then."""
        return {"epoch": self.epoch, "weights": self.weights, "stopping": dict(self.stopping.state_dict())}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of :meth:`state_dict`; a training that had stopped does not go on."""
        self.epoch, self.weights = state["epoch"], state["weights"]
        self.stopping.load_state_dict(state["stopping"])
        if self.stopping.counter >= self.patience:
            self.trainer.terminate()

    def _score(self, evaluator: Engine) -> float:
        key = evaluator.state.key_metric_name  # type: ignore[attr-defined]  # MONAI's engines add it to the state of ignite's
        score = float(evaluator.state.metrics[key])
        return self.worst if math.isnan(score) else score

    def _choose(self, engine: Engine) -> None:
        if not self.epoch:
            logger.warning("No epoch was evaluated by the patients who choose: the last weights are kept.")
            return
        self.network.load_state_dict(self.weights)
        logger.info(
            "The weights of epoch %d of %d are kept: %.4g is best.", self.epoch, engine.state.epoch, self.stopping.best_score
        )
