"""The decomposition of the whole latent field, for small grids."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from monai_cpic.networks.decompositions.base import TensorizedDecomposition
from monai_cpic.networks.latent_field import LatentField
from monai_cpic.networks.sampled_field import SampledField
from monai_cpic.tensor_train import Mode, TensorTrain

__all__ = ["TTSVD"]


class TTSVD(TensorizedDecomposition):
    """TT-SVD of the dense latent field (Oseledets 2011): every grid point is encoded.

    Its error is that of the best tensor train of the rank, up to a factor of the square root of the number of bonds, so it serves
    as the reference for the other decompositions.

    Args:
        modes: the tensorization of grid and channels, see :class:`TensorizedDecomposition`.
        rank: bond rank of the tensor trains.
    """

    def __init__(self, modes: Sequence[Mode], rank: int = 10) -> None:
        super().__init__(modes, rank)

    def repeats(self, step: int | None) -> bool:
        return True

    def forward(self, field: LatentField, step: int | None) -> SampledField:
        axes = [torch.arange(size, device=field.device) for size in self.spatial_shape]
        points = torch.cartesian_prod(*axes).reshape(1, -1, len(axes))
        trains, maxima = [], []
        for b in range(len(field)):
            vectors = field[[b]].at(points).double()
            maxima.append(vectors.amax(1))
            dense = vectors.reshape(1, *self.spatial_shape, -1)
            trains.append(TensorTrain.from_dense(dense, self.modes_of(field), self.rank))
        every = TensorTrain.cat(trains)
        return SampledField(every, self.channel_means(every), torch.cat(maxima), scan=every)
