"""Random transforms that a resumed training repeats."""

from __future__ import annotations

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from monai.transforms import Compose

__all__ = ["SeedTransforms"]


class SeedTransforms:
    """Seed random transforms at the start of each epoch from torch's generator, whose state a checkpoint keeps.

    Processes of a distributed training draw numbers of their own.

    MONAI's transforms have generators of their own, which no checkpoint holds.  With this and
    :class:`~monai_cpic.handlers.RandomState` the epochs after an interruption augment as they would have without it.  It is for
    loaders without workers; those with workers are seeded from torch's generator anyway.

    Args:
        transform: of the training data set.
    """

    def __init__(self, transform: Compose) -> None:
        self.transform = transform

    def attach(self, engine: Engine) -> None:
        """Register with a trainer."""
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Seed now."""
        self.transform.set_random_state(int(torch.randint(2**31, ())) + idist.get_rank())
