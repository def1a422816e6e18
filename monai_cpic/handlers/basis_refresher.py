"""A basis from frozen weights before every evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from ignite.engine import Engine, Events

from monai_cpic.networks import CPICNet
from monai_cpic.tensor_train import TensorTrain

__all__ = ["BasisRefresher"]


class BasisRefresher:
    """Refresh the network's projection at the end of training epochs from the training volumes under the present weights.

    In training the basis follows an encoder that moves; a basis for prediction must belong to the encoder it is used with.
    Attach it before the validation handler and with the same interval.  As many volumes are used as the projection's bank
    holds.

    Args:
        network: the network.
        data_loader: batches of training data, in a fixed order.
        interval: epochs between refreshments.
        image_key: volumes in a batch.
    """

    def __init__(
        self, network: CPICNet, data_loader: Iterable[Mapping[str, Any]], interval: int = 1, image_key: str = "image"
    ) -> None:
        self.network = network
        self.data_loader = data_loader
        self.interval = interval
        self.image_key = image_key

    def attach(self, engine: Engine) -> None:
        """Register with a trainer."""
        engine.add_event_handler(Events.EPOCH_COMPLETED(every=self.interval), self)

    @torch.no_grad()
    def __call__(self, engine: Engine) -> None:
        """Refresh now."""
        capacity = self.network.projection.capacity
        self.network.eval()
        trains: list[TensorTrain] = []
        for batch in self.data_loader:
            room = capacity - sum(map(len, trains))
            if room:
                trains.append(self.network.bottleneck(batch[self.image_key][:room]))
        self.network.projection.refresh(TensorTrain.cat(trains))
        engine.logger.info("Refreshed the basis from %d volumes", sum(map(len, trains)))
