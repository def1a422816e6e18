"""The mean of each latent channel in each octant of the grid."""

from __future__ import annotations

import math
from collections.abc import Sequence

from monai.networks.layers.factories import Pool
from torch import Tensor

from monai_cpic.networks.projections.normalised import NormalisedProjection
from monai_cpic.networks.sampled_field import SampledField

__all__ = ["OctantMeans"]


class OctantMeans(NormalisedProjection):
    """The mean of each channel over the scan in each half of each axis, normalised over the batch.

    It tells left from right and front from back, which means over the whole grid do not.  An encoder that sees its position
    (:class:`~monai_cpic.networks.PositionedEncoder`) tells them finer, with fewer features.

    Args:
        cells: of the scan along each axis, ``cells`` of a :class:`~monai_cpic.networks.ScanCross` or
            :class:`~monai_cpic.networks.RandomCells`.  An axis of one cell is not halved.
        n_dims: channels of the latent field.

    Example:
        >>> import torch
        >>> from monai_cpic.data import open_volume
        >>> from monai_cpic.networks import PooledEncoder, RandomCells, TTBottleneck
        >>> decomposition = RandomCells((16, 16, 8), n_dims=4, cells=32)
        >>> bottleneck = TTBottleneck(PooledEncoder(n_dims=4), decomposition)
        >>> field = bottleneck([open_volume(scan) for scan in torch.rand(5, 1, 16, 16, 8)])
        >>> OctantMeans(decomposition.cells, n_dims=4)(field).shape
        torch.Size([5, 32])
    """

    def __init__(self, cells: Sequence[int], n_dims: int) -> None:
        halves = [min(count, 2) for count in cells]
        super().__init__(math.prod(halves) * n_dims)
        self.cells = tuple(cells)
        self.pool = Pool[Pool.ADAPTIVEAVG, len(halves)](tuple(halves))

    def raw(self, field: SampledField) -> Tensor:
        (vectors,) = field.scan
        channels_first = vectors.reshape(len(field), *self.cells, -1).movedim(-1, 1)
        return self.pool(channels_first).flatten(1)
