"""A basis from frozen weights before every evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.engines import PrepareBatch
from torch import Tensor

from monai_cpic.data import distinct_volumes
from monai_cpic.handlers.prepare_batch import PrepareRows
from monai_cpic.networks import CPICNet, RidgeReadout
from monai_cpic.networks.readouts.ridge import FEWEST
from monai_cpic.tensor_train import TensorTrain

__all__ = ["BasisRefresher"]


class BasisRefresher:
    """Refresh what predictions rest on after every ``interval`` epochs and after the last one, from the training volumes.

    In training the basis follows an encoder that moves; a basis for prediction must belong to the encoder it is used with.
    Attach it before the validation handler and with the same interval.  Of the projection's basis or statistics as many volumes
    are used as its bank holds; a readout (:class:`~monai_cpic.networks.RidgeReadout`) is fitted to all.

    Args:
        network: the network.
        data_loader: batches of training data, in a fixed order.
        interval: epochs between refreshments.
        prepare_batch: volumes, targets and covariates of a batch, as the trainer's; the volumes as a list.
        target: what a readout is fitted to, of the targets, ``[R, …]``; rows with NaN are left out.
        loss_function: of the head of a :class:`~monai_cpic.networks.StackedReadout`.

    Raises:
        ValueError: for a loss function beside a :class:`~monai_cpic.networks.RidgeReadout`, which fits squared errors.
    """

    def __init__(
        self,
        network: CPICNet,
        data_loader: Iterable[Mapping[str, Any]],
        interval: int = 1,
        prepare_batch: PrepareBatch | None = None,
        target: Callable[[Tensor], Tensor] = lambda target: target,
        loss_function: Callable[[Tensor, Tensor], Tensor] | None = None,
    ) -> None:
        if loss_function is not None and isinstance(network.readout, RidgeReadout):
            raise ValueError(
                'the readout "ridge" fits squared errors and takes no loss function: choose the readout "stacked" or "head" for '
                "targets with a loss of their own, or leave out loss_function"
            )
        self.network = network
        self.data_loader = data_loader
        self.interval = interval
        self.prepare_batch = PrepareRows() if prepare_batch is None else prepare_batch
        self.target = target
        self.loss_function = loss_function

    def attach(self, engine: Engine) -> None:
        """Register with a trainer."""
        engine.add_event_handler(Events.EPOCH_COMPLETED(every=self.interval), self)
        engine.add_event_handler(Events.COMPLETED, self._after_the_last)

    def _after_the_last(self, engine: Engine) -> None:
        if engine.state.epoch % self.interval:
            self(engine)

    @torch.no_grad()
    def __call__(self, engine: Engine) -> None:
        """Refresh now."""
        readout, capacity = self.network.readout, self.network.projection.capacity
        self.network.eval()
        trains: list[TensorTrain] = []
        targets: list[Tensor] = []
        covariates: list[Tensor] = []
        rows: list[Tensor] = []
        for batch in self.data_loader:
            if readout is None and sum(map(len, trains)) >= capacity:
                break
            volumes, target, given, _ = self.prepare_batch(batch)
            distinct, places = distinct_volumes(volumes)
            rows.append(places + sum(map(len, trains)))
            trains.append(self.network.bottleneck(distinct))
            targets.append(target)
            covariates += given
        every = TensorTrain.cat(trains)
        self.network.projection.refresh(every[:capacity])
        engine.logger.info("Refreshed the basis from %d volumes", min(len(every), capacity))
        if readout is not None:
            wanted = self.target(torch.cat(targets))
            known = ~wanted.isnan().any(1)
            seen, places = torch.cat(covariates)[known] if covariates else None, torch.cat(rows)[known.cpu()]
            if len(places.unique()) < FEWEST:
                engine.logger.warning("Fewer than %d patients with a known target: predictions remain those of the head", FEWEST)
                return
            settings = {} if self.loss_function is None else {"loss_function": self.loss_function}
            readout.fit(every, wanted[known], seen, places, **settings)
            engine.logger.info("Fitted the readout to %d rows: %s", known.sum(), readout.summary)
