"""The largest value of each latent channel."""

from __future__ import annotations

from torch import Tensor

from monai_cpic.networks.projections.normalised import NormalisedProjection
from monai_cpic.networks.sampled_field import SampledField

__all__ = ["ChannelMaxima"]


class ChannelMaxima(NormalisedProjection):
    """The largest value of each channel over the points that were encoded, normalised over the batch: global max pooling.

    A mean dilutes what is small; a maximum does not, provided that a point was encoded there, as cross-approximation sees to.

    Args:
        n_dims: channels of the latent field, which is also the number of features.

    Example:
        >>> ChannelMaxima(n_dims=16).features  # of any sampled field of 16 channels
        16
    """

    def __init__(self, n_dims: int) -> None:
        super().__init__(n_dims)

    def raw(self, field: SampledField) -> Tensor:
        return field.maxima
