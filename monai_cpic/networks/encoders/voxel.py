"""The identity as an encoder, for tensor trains of the voxels themselves."""

from __future__ import annotations

from torch import Tensor

from monai_cpic.networks.encoders.base import Encoder

__all__ = ["VoxelEncoder"]


class VoxelEncoder(Encoder):
    """The channels of a voxel are its latent vector: the baseline without an encoder ("TT + MLP" in the paper's tables).

    Args:
        in_channels: channels of the volume, and of the latent field.

    Example:
        >>> import torch
        >>> VoxelEncoder(in_channels=2)(torch.rand(7, 2, 1, 1, 1)).shape
        torch.Size([7, 2])
    """

    receptive_field = 1

    def __init__(self, in_channels: int = 1) -> None:
        super().__init__()
        self.in_channels = self.n_dims = in_channels

    def forward(self, patches: Tensor, positions: Tensor | None = None) -> Tensor:
        return patches.flatten(1)
