"""Seeding random transforms, so that a resumed training augments as an uninterrupted one."""

from __future__ import annotations

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from monai.transforms import Compose

__all__ = ["SeedTransforms"]


class SeedTransforms:
    """Seed random transforms at the start of each epoch from torch's generator, whose state is saved in checkpoints.

    MONAI's transforms have their own generators, which are not part of a checkpoint.  With this handler and
    :class:`~monai_cpic.handlers.RandomState`, the epochs after an interruption augment as they would have without it.  Each
    process of a distributed training has its own seed.  The handler is needed for loaders without workers; workers are seeded
    from torch's generator anyway.

    Args:
        transform: the transforms of the training data set.
    """

    def __init__(self, transform: Compose) -> None:
        self.transform = transform

    def attach(self, engine: Engine) -> None:
        """Register with a trainer."""
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Seed the transforms."""
        self.transform.set_random_state(int(torch.randint(2**31, ())) + idist.get_rank())
