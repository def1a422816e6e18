"""Features of several projections side by side."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from monai_cpic.networks.projections.base import Projection
from monai_cpic.networks.sampled_field import SampledField

__all__ = ["JoinedProjection"]


class JoinedProjection(Projection):
    """The features of several projections, one after the other.

    Args:
        projections: at least one.

    Raises:
        ValueError: if there is none.

    Example:
        >>> from monai_cpic.networks import ChannelMaxima, ChannelMeans
        >>> JoinedProjection([ChannelMeans(n_dims=16), ChannelMaxima(n_dims=16)]).features
        32
    """

    def __init__(self, projections: Sequence[Projection]) -> None:
        super().__init__()
        if not projections:
            raise ValueError("there is no projection to join")
        self.projections = nn.ModuleList(projections)
        self.features = sum(projection.features for projection in projections)
        self.capacity = max(projection.capacity for projection in projections)

    def forward(self, field: SampledField) -> Tensor:
        return torch.cat([projection(field) for projection in self.projections], 1)

    def refresh(self, field: SampledField) -> None:
        for projection in self.projections:
            assert isinstance(projection, Projection)
            projection.refresh(field[: projection.capacity])
