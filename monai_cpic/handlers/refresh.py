"""Refreshing a network's basis, statistics and readout before each evaluation."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from ignite.engine import Engine, Events
from monai.engines import PrepareBatch
from torch import Tensor

from monai_cpic.handlers.prepare_batch import PrepareRows
from monai_cpic.networks import VolumeRegressor
from monai_cpic.networks.nets.volume_regressor import RefreshBatch

__all__ = ["RefreshHandler"]

logger = logging.getLogger(__name__)


class RefreshHandler:
    """Call :meth:`~monai_cpic.networks.VolumeRegressor.refresh` after every ``interval`` epochs and after the last one.

    Attach it before the validation handler and with the same interval.

    Args:
        network: the network.
        data_loader: batches of the training data, in a fixed order; those of one ``patient``, if they have the key, are left out
            together where a readout leaves some out.
        interval: number of epochs between two calls.
        prepare_batch: from a batch to volumes (as a list), targets and covariates, as in the trainer; default:
            :class:`~monai_cpic.handlers.PrepareRows`.
        target: from targets ``[R, …]`` to those that a readout is fitted to; rows with NaN are left out.
    """

    def __init__(
        self,
        network: VolumeRegressor,
        data_loader: Iterable[dict[str, Any]],
        interval: int = 1,
        prepare_batch: PrepareBatch | None = None,
        target: Callable[[Tensor], Tensor] = lambda target: target,
    ) -> None:
        self.network = network
        self.data_loader = data_loader
        self.interval = interval
        self.prepare_batch = PrepareRows() if prepare_batch is None else prepare_batch
        self.target = target

    def attach(self, engine: Engine) -> None:
        """Register with a trainer."""
        engine.add_event_handler(Events.EPOCH_COMPLETED(every=self.interval), self)
        engine.add_event_handler(Events.COMPLETED, self._after_the_last)

    def __call__(self, engine: Engine) -> None:
        """Refresh the network."""
        for done in self.network.refresh(self._batches()):
            logger.info(done)

    def _after_the_last(self, engine: Engine) -> None:
        if engine.state.epoch % self.interval:
            self(engine)

    def _batches(self) -> Iterator[RefreshBatch]:
        for batch in self.data_loader:
            volumes, target, given, _ = self.prepare_batch(batch)
            rows = volumes, self.target(target), given[0] if given else None
            yield rows if "patient" not in batch else (*rows, _patients(batch, len(volumes)))


def _patients(batch: Mapping[str, Any], rows: int) -> list[str]:
    """The patient of each row."""
    names = list(batch["patient"])
    if len(names) == rows:
        return names
    return [name for name, own in zip(names, batch["covariates"], strict=True) for _ in range(len(own))]
