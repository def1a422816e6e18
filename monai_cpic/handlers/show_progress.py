"""How far a training is: a bar on a terminal, and a line for each epoch in the log."""

from __future__ import annotations

import logging
from typing import Any

from ignite.engine import Engine, Events
from ignite.handlers import ProgressBar, Timer
from tqdm import tqdm

from monai_cpic.handlers.history import History

__all__ = ["ShowProgress"]

logger = logging.getLogger(__name__)


class ShowProgress:
    """Show the loss of each batch and the time left in a bar, which a log file does not get, and log each epoch by one line.

    Args:
        history: the losses; attach it before this handler.
    """

    def __init__(self, history: History) -> None:
        self.history = history
        self._epochs = Timer(average=True)

    def attach(self, engine: Engine) -> None:
        """Register with a trainer; attach it before its validation handler, whose lines then follow that of the epoch."""
        self._epochs.attach(engine, start=Events.STARTED, step=Events.EPOCH_COMPLETED)
        ProgressBar(disable=None).attach(engine, output_transform=_loss)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Log the epoch that has ended."""
        epoch, epochs = engine.state.epoch, engine.state.max_epochs
        assert epochs is not None
        left = tqdm.format_interval((epochs - epoch) * self._epochs.value())
        logger.info("Epoch %d of %d: loss %.4g, %s left", epoch, epochs, self.history.rows[-1]["loss"], left)


def _loss(output: Any) -> dict[str, float]:
    return {"loss": output["loss"].item()}
