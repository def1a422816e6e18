"""The paper's encoder."""

from __future__ import annotations

from itertools import pairwise

from monai.networks.layers.factories import Conv
from torch import Tensor, nn

from monai_cpic.networks.encoders.base import Encoder

__all__ = ["PatchEncoder"]


class PatchEncoder(Encoder):
    """Four 3×3×3 convolutions without padding, ReLU between them and a sigmoid at the end (paper, appendix A.4).

    Each convolution narrows the patch by two voxels, so that a patch of the receptive field's size becomes one vector.

    Args:
        in_channels: channels of the volume.
        n_dims: length of the latent vector.
        hidden_channels: widths of the layers between.
        spatial_dims: 2 or 3.

    Example:
        >>> import torch
        >>> PatchEncoder(in_channels=1, n_dims=16)(torch.rand(7, 1, 9, 9, 9)).shape
        torch.Size([7, 16])
    """

    def __init__(
        self,
        in_channels: int = 1,
        n_dims: int = 16,
        hidden_channels: tuple[int, ...] = (5, 15, 25),
        spatial_dims: int = 3,
    ) -> None:
        super().__init__()
        widths = (in_channels, *hidden_channels, n_dims)
        conv = Conv[Conv.CONV, spatial_dims]
        layers: list[nn.Module] = []
        for width, following in pairwise(widths):
            layers += [conv(width, following, kernel_size=3), nn.ReLU()]
        self.layers = nn.Sequential(*layers[:-1], nn.Sigmoid(), nn.Flatten(1))
        self.in_channels = in_channels
        self.n_dims = n_dims
        self.receptive_field = 1 + 2 * (len(widths) - 1)

    def forward(self, patches: Tensor, positions: Tensor | None = None) -> Tensor:
        return self.layers(patches)
