"""The encoder that does nothing: for the tensor train of the voxels themselves."""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["VoxelEncoder"]


class VoxelEncoder(nn.Flatten):
    """A voxel's channels are its latent vector: the baseline without an encoder ("TT + MLP" in the paper's tables).

    Args:
        in_channels: channels of the volume.

    Example:
        >>> import torch
        >>> VoxelEncoder(in_channels=2)(torch.rand(7, 2, 1, 1, 1)).shape
        torch.Size([7, 2])
    """

    receptive_field = 1

    def __init__(self, in_channels: int = 1) -> None:
        super().__init__()
        self.in_channels = self.n_dims = in_channels

    def forward(self, cubes: Tensor) -> Tensor:
        """Vectors ``[N, in_channels]`` of single voxels ``[N, in_channels, 1, …]``."""
        return super().forward(cubes)
