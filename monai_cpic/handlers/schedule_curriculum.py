"""How long the first decomposition of a curriculum teaches."""

from __future__ import annotations

from ignite.engine import Engine, Events

from monai_cpic.networks import Curriculum

__all__ = ["ScheduleCurriculum"]


class ScheduleCurriculum:
    """Give the first decomposition of a curriculum its share of a training, whose number of steps is known when it starts.

    Args:
        curriculum: the decomposition of the network that is trained.
        share: of the training's steps, 0 to 1.

    Raises:
        ValueError: if the share lies outside.

    Example:
        >>> from monai_cpic.networks import RandomCells
        >>> cells = RandomCells((8, 8, 8), n_dims=2, cells=8)
        >>> curriculum = Curriculum(cells, cells)
        >>> trainer = Engine(lambda engine, batch: None)
        >>> ScheduleCurriculum(curriculum, share=0.75).attach(trainer)
        >>> _ = trainer.run(range(4), max_epochs=10)
        >>> curriculum.steps
        30
    """

    def __init__(self, curriculum: Curriculum, share: float) -> None:
        if not 0 <= share <= 1:
            raise ValueError(f"a share of the training lies between 0 and 1, got {share}")
        self.curriculum = curriculum
        self.share = share

    def attach(self, engine: Engine) -> None:
        """Register with a trainer."""
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Set the number of steps."""
        epochs, steps = engine.state.max_epochs, engine.state.epoch_length
        assert epochs is not None and steps is not None
        self.curriculum.steps = round(self.share * epochs * steps)
