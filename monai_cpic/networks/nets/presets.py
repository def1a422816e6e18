"""Common combinations of the parts of :class:`~monai_cpic.networks.CPICNet`, as functions."""

from __future__ import annotations

from collections.abc import Sequence

from monai_cpic.networks.decompositions import CrossApproximation, RandomCells
from monai_cpic.networks.encoders import PatchEncoder, PooledEncoder, PositionedEncoder
from monai_cpic.networks.nets.cpic import NEAR_AND_FAR, CPICNet
from monai_cpic.networks.projections import TTProjection
from monai_cpic.networks.readouts import TwoBranchHead
from monai_cpic.tensor_train import qtt_modes

__all__ = ["paper_net", "random_cells_net"]


def paper_net(
    spatial_shape: Sequence[int],
    in_channels: int = 1,
    out_channels: int = 1,
    covariates: int = 0,
    *,
    n_dims: int = 16,
    rank: int = 10,
    oversampling: float = 1.0,
) -> CPICNet:
    """The paper's network: its encoder, plain cross-approximation, and as many features (:class:`TTProjection`) as the rank.

    Args:
        spatial_shape: the grid, ``D`` sizes.
        in_channels: channels of the volumes.
        out_channels: number of outputs.
        covariates: number of covariates of each row.
        n_dims: channels of the latent field.
        rank: bond rank of the tensor trains, and number of features.
        oversampling: rows per bond divided by the rank; 1.5 preserves much more of the scan than 1.

    Example:
        >>> import torch
        >>> paper_net((16, 16, 8), n_dims=4, rank=3)(torch.rand(2, 1, 16, 16, 8)).shape
        torch.Size([2, 1])
    """
    decomposition = CrossApproximation(qtt_modes(spatial_shape, n_dims), rank, oversampling)
    return CPICNet(
        out_channels=out_channels,
        covariates=covariates,
        encoder=PatchEncoder(in_channels, n_dims, spatial_dims=len(spatial_shape)),
        decomposition=decomposition,
        projection=TTProjection(rank, decomposition.mode_sizes, decomposition.ranks),
        head=TwoBranchHead(rank, covariates, out_channels),
    )


def random_cells_net(
    spatial_shape: Sequence[int],
    in_channels: int = 1,
    out_channels: int = 1,
    covariates: int = 0,
    *,
    n_dims: int = 16,
    cells: int = 1024,
) -> CPICNet:
    """:class:`CPICNet` without its cross-approximation: one random voxel in each cell, and everything else the same.

    It is the stronger and cheaper network where the target depends on what is spread over the whole scan, and blind to what is
    small.

    Args:
        spatial_shape: the grid, ``D`` sizes.
        in_channels: channels of the volumes.
        out_channels: number of outputs.
        covariates: number of covariates of each row.
        n_dims: channels of the latent field.
        cells: largest number of cells.

    Example:
        >>> import torch
        >>> random_cells_net((16, 16, 8), n_dims=4)(torch.rand(2, 1, 16, 16, 8)).shape
        torch.Size([2, 1])
    """
    patches = PooledEncoder(in_channels, n_dims, spatial_dims=len(spatial_shape), steps=NEAR_AND_FAR)
    return CPICNet(
        out_channels=out_channels,
        covariates=covariates,
        encoder=PositionedEncoder(patches, spatial_dims=len(spatial_shape)),
        decomposition=RandomCells(spatial_shape, n_dims, cells),
    )
