"""C-PIC: regression from whole volumes through a tensor-train bottleneck."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from monai_cpic.data import LazyVolume, open_volume
from monai_cpic.networks.blocks import IndexStore, PatchEncoder, TTBottleneck, TTProjection, TwoBranchHead

__all__ = ["CPICNet"]


class CPICNet(nn.Module):
    """Encoder at chosen voxels → tensor train → canonical features → head (paper, section 3.1 and figure 2).

    Args:
        spatial_shape: the grid, ``D`` sizes; volumes may be smaller (virtual padding), not larger.  Powers of two cost least.
        in_channels: channels of the volumes.
        out_channels: number of outputs.
        n_dims: channels of the latent field.
        rank: bond rank of the tensor trains and number of features.
        covariates: number of covariates given beside each volume.
        decomposition: ``"cross"``, or ``"svd"`` for the exact decomposition of small grids.
        tensorization: ``"qtt"`` or ``"tt"``.
        oversampling: rows per bond in units of ``rank``; 1 is the paper's plain cross.
        passes: passes of a cold start.
        indices: where the next training step of each volume starts; default: an :class:`~monai_cpic.networks.IndexStore` in
            memory.

    Example:
        >>> net = CPICNet(spatial_shape=(16, 16, 8), n_dims=4, rank=3)
        >>> net(torch.rand(2, 1, 16, 16, 8)).shape  # in-memory volumes; usually a list of LazyVolume
        torch.Size([2, 1])
    """

    def __init__(
        self,
        spatial_shape: Sequence[int],
        in_channels: int = 1,
        out_channels: int = 1,
        n_dims: int = 16,
        rank: int = 10,
        covariates: int = 0,
        decomposition: str = "cross",
        tensorization: str = "qtt",
        oversampling: float = 1.5,
        passes: int = 2,
        indices: IndexStore | None = None,
    ) -> None:
        super().__init__()
        self.encoder = PatchEncoder(in_channels, n_dims, spatial_dims=len(spatial_shape))
        self.bottleneck = TTBottleneck(
            self.encoder, spatial_shape, rank, tensorization, decomposition, oversampling, passes, indices
        )
        self.projection = TTProjection(rank, self.bottleneck.mode_sizes, rank)
        self.head = TwoBranchHead(rank, covariates, out_channels)

    def forward(self, volumes: Sequence[LazyVolume] | Tensor, covariates: Tensor | None = None) -> Tensor:
        """Outputs ``[B, out_channels]``.

        Args:
            volumes: ``B`` volumes or a dense tensor ``[B, C, *spatial]``.  A volume that stands in the batch several times (one
                row per visit, say) is evaluated once.
            covariates: ``[B, covariates]``.
        """
        if isinstance(volumes, Tensor):
            volumes = [open_volume(volume) for volume in volumes]
        distinct = list({id(volume): volume for volume in volumes}.values())
        place = {id(volume): position for position, volume in enumerate(distinct)}
        rows = torch.tensor([place[id(volume)] for volume in volumes])
        parameter = next(self.head.parameters())
        features = self.features(distinct)[rows].to(parameter.device, parameter.dtype)
        return self.head(features, covariates)

    def features(self, volumes: Sequence[LazyVolume]) -> Tensor:
        """Canonical features ``[B, rank]`` of different volumes."""
        return self.projection(self.bottleneck(volumes))
