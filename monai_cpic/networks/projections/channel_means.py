"""The mean of each latent channel."""

from __future__ import annotations

from torch import Tensor

from monai_cpic.networks.projections.normalised import NormalisedProjection
from monai_cpic.networks.sampled_field import SampledField

__all__ = ["ChannelMeans"]


class ChannelMeans(NormalisedProjection):
    """The mean of each channel over the grid, normalised over the batch: global average pooling of the latent field.

    Args:
        n_dims: channels of the latent field, which is also the number of features.

    Example:
        >>> import torch
        >>> from monai_cpic.data import open_volume
        >>> from monai_cpic.networks import PooledEncoder, RandomCells, TTBottleneck
        >>> bottleneck = TTBottleneck(PooledEncoder(n_dims=4), RandomCells((16, 16, 8), n_dims=4, cells=32))
        >>> field = bottleneck([open_volume(scan) for scan in torch.rand(5, 1, 16, 16, 8)])
        >>> ChannelMeans(n_dims=4)(field).shape
        torch.Size([5, 4])
    """

    def __init__(self, n_dims: int) -> None:
        super().__init__(n_dims)

    def raw(self, field: SampledField) -> Tensor:
        return field.means
