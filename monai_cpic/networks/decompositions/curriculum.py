"""One decomposition after another in the course of a training."""

from __future__ import annotations

from torch import Tensor

from monai_cpic.data import Volume
from monai_cpic.networks.decompositions.base import Decomposition
from monai_cpic.networks.latent_field import LatentField
from monai_cpic.networks.sampled_field import SampledField

__all__ = ["Curriculum"]


class Curriculum(Decomposition):
    """A cheap decomposition teaches the encoder first, then the one with which the network predicts takes over.

    An encoder that has learned nothing makes a field of noise, in which cross-approximation has nothing to find; until then, a
    step of random cells teaches as much for a fraction of the time (Bengio et al., Curriculum learning, ICML 2009).  In the first
    steps the tensor trains are those of ``first``, so the projection must not depend on them, as means and maxima do not.

    Args:
        first: decomposition of the first steps, such as random cells.
        then: decomposition of later steps and of evaluation.
        steps: number of training steps with ``first``; :class:`~monai_cpic.handlers.ScheduleCurriculum` sets it to a share of a
            training.

    Raises:
        ValueError: if the two have different grids or channels, or ``steps`` is negative.

    Example:
        >>> from monai_cpic.networks import RandomCells, ScanCross
        >>> from monai_cpic.tensor_train import qtt_modes
        >>> cells = RandomCells((16, 16, 8), n_dims=4, cells=64)
        >>> Curriculum(cells, ScanCross(qtt_modes((16, 16, 8), 4), cells=64), steps=1000).scan_sizes
        [256]
    """

    def __init__(self, first: Decomposition, then: Decomposition, steps: int = 0) -> None:
        super().__init__()
        if first.spatial_shape != then.spatial_shape or first.n_dims != then.n_dims:
            raise ValueError(
                f"both decompositions of a curriculum need one grid and one number of channels, got {first.spatial_shape} with "
                f"{first.n_dims} and {then.spatial_shape} with {then.n_dims}"
            )
        if steps < 0:
            raise ValueError(f"steps must not be negative, got {steps}")
        self.first = first
        self.then = then
        self.steps = steps
        self.spatial_shape = then.spatial_shape
        self.n_dims = then.n_dims
        self.mode_sizes = then.mode_sizes
        self.ranks = then.ranks
        self.scan_sizes = then.scan_sizes

    def forward(self, field: LatentField, step: int | None) -> SampledField:
        return self._of(step)(field, step)

    def repeats(self, step: int | None) -> bool:
        return self._of(step).repeats(step)

    def planned(self, volume: Volume) -> Tensor | None:
        return self.then.planned(volume)

    def _of(self, step: int | None) -> Decomposition:
        return self.first if step is not None and step <= self.steps else self.then
