"""An encoder that sees where its patch lies."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from monai_cpic.data import Volume
from monai_cpic.networks.encoders.base import Encoder

__all__ = ["PositionedEncoder"]

FREQUENCIES = (1, 2)  # half waves along an axis are twice as many


class PositionedEncoder(Encoder):
    """The vector of another encoder, joined with the patch's position in a layer of its own.

    A mean over the grid cannot tell left from right; with this it is a sum over the scan of what is there *and* where.  The
    position is given as coordinates with their sines and cosines at two frequencies (Vaswani et al., Attention is all you need,
    2017, section 3.5).  It is that in the network's grid, so a scan that is flipped by a lazy transform has flipped positions.

    Args:
        encoder: of the patches; its vectors keep their length.
        spatial_dims: axes of the grid, 2 or 3.
        hidden_units: of the layer that joins vector and position.

    Example:
        >>> from monai_cpic.networks import PooledEncoder
        >>> encoder = PositionedEncoder(PooledEncoder(n_dims=4))
        >>> encoder(torch.rand(9, 1, 7, 7, 7), torch.rand(9, 3)).shape
        torch.Size([9, 4])
    """

    def __init__(self, encoder: Encoder, spatial_dims: int = 3, hidden_units: int = 32) -> None:
        super().__init__()
        self.encoder = encoder
        self.in_channels = encoder.in_channels
        self.n_dims = encoder.n_dims
        self.receptive_field = encoder.receptive_field
        self.steps = encoder.steps
        joined = self.n_dims + spatial_dims * (1 + 2 * len(FREQUENCIES))
        self.layers = nn.Sequential(nn.Linear(joined, hidden_units), nn.ReLU(), nn.Linear(hidden_units, self.n_dims))

    def forward(self, patches: Tensor, positions: Tensor | None = None) -> Tensor:
        if positions is None:
            raise ValueError(f"{type(self).__name__} needs the positions [N, D] of the patches")
        angles = [frequency * math.pi * positions for frequency in FREQUENCIES]
        code = [positions, *(wave for angle in angles for wave in (angle.sin(), angle.cos()))]
        vectors = self.encoder(patches, positions)
        return self.layers(torch.cat([vectors, *(part.to(vectors) for part in code)], 1))

    def read(self, volume: Volume, points: Tensor, again: bool) -> Tensor:
        return self.encoder.read(volume, points, again)
