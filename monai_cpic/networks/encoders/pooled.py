"""An encoder that learns faster than the paper's: with batch normalization, and averaged over its last feature map."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from monai.networks.layers.factories import Conv, Norm, Pool
from torch import Tensor, nn

from monai_cpic.networks.encoders.base import Encoder

__all__ = ["PooledEncoder"]


class PooledEncoder(Encoder):
    """3×3×3 convolutions without padding, with ReLU and batch normalization; the mean of the last map; a linear layer.

    Args:
        in_channels: channels of the volume.
        n_dims: length of the latent vector.
        hidden_channels: widths of the convolutions.
        spatial_dims: 2 or 3.
        receptive_field: edge of the patches; odd, at least ``1 + 2 * len(hidden_channels)``.
        steps: distances between the voxels of a patch; the patches of all steps are channels of the first convolution.

    Raises:
        ValueError: if the receptive field is even or too small.

    Example:
        >>> import torch
        >>> PooledEncoder(in_channels=1, n_dims=4)(torch.rand(9, 1, 7, 7, 7)).shape
        torch.Size([9, 4])
        >>> PooledEncoder(in_channels=1, n_dims=4, steps=(1, 4, 16))(torch.rand(9, 3, 7, 7, 7)).shape
        torch.Size([9, 4])
    """

    def __init__(
        self,
        in_channels: int = 1,
        n_dims: int = 16,
        hidden_channels: tuple[int, ...] = (8, 16),
        spatial_dims: int = 3,
        receptive_field: int = 7,
        steps: Sequence[int] = (1,),
    ) -> None:
        super().__init__()
        smallest = 1 + 2 * len(hidden_channels)
        if receptive_field < smallest or receptive_field % 2 == 0:
            raise ValueError(f"receptive_field must be odd and at least {smallest}, got {receptive_field}")
        conv, norm, pool = Conv[Conv.CONV, spatial_dims], Norm[Norm.BATCH, spatial_dims], Pool[Pool.ADAPTIVEAVG, spatial_dims]
        layers: list[nn.Module] = []
        for width, following in pairwise((len(steps) * in_channels, *hidden_channels)):
            layers += [conv(width, following, kernel_size=3), nn.ReLU(), norm(following)]
        self.layers = nn.Sequential(*layers, pool(1), nn.Flatten(1), nn.Linear(hidden_channels[-1], n_dims))
        self.in_channels = in_channels
        self.steps = tuple(steps)
        self.n_dims = n_dims
        self.receptive_field = receptive_field

    def forward(self, patches: Tensor, positions: Tensor | None = None) -> Tensor:
        return self.layers(patches)
