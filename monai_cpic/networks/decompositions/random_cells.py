"""One random point in each cell of a coarse partition of the volume."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from monai_cpic.devices import constant, move
from monai_cpic.networks.decompositions.base import Decomposition
from monai_cpic.networks.latent_field import LatentField
from monai_cpic.networks.sampled_field import SampledField
from monai_cpic.tensor_train import TensorTrain

__all__ = ["RandomCells", "cell_counts", "points_in_cells"]

DRAWS = 4  # points in each cell whose vectors an evaluation averages


class RandomCells(Decomposition):
    """The latent vectors at one random point of each cell, without any compression: stratified sampling of the field.

    The vectors of the cells form a tensor train of a single mode, which can represent any array.  Every training step has new
    points.  Evaluation takes the mean of the vectors at four fixed points of each cell.

    Args:
        spatial_shape: the grid, ``D`` sizes.
        n_dims: channels of the latent field.
        cells: largest number of cells, see :func:`cell_counts`.

    Raises:
        ValueError: if ``cells`` is below 1.
    """

    def __init__(self, spatial_shape: Sequence[int], n_dims: int, cells: int = 1024) -> None:
        super().__init__()
        self.spatial_shape = tuple(spatial_shape)
        self.n_dims = n_dims
        self.cells = cell_counts(self.spatial_shape, cells)
        self.mode_sizes = self.scan_sizes = [math.prod(self.cells) * n_dims]
        self.ranks = [1, 1]

    def forward(self, field: LatentField, step: int | None) -> SampledField:
        seeds = range(DRAWS) if step is None else [step]
        relative = move(torch.cat([points_in_cells(self.cells, seed) for seed in seeds]), field.device)
        vectors = field.at((relative * field.extents[:, None]).long()).double().unflatten(1, (len(seeds), -1))
        trains = TensorTrain([vectors.mean(1).reshape(len(field), 1, -1, 1)])
        return SampledField(trains, vectors.mean((1, 2)), vectors.amax(2).mean(1), scan=trains)


def cell_counts(shape: Sequence[int], points: int) -> list[int]:
    """The number of cells along each axis: powers of two, at most ``points`` cells in all, with edges as equal as possible.

    Raises:
        ValueError: if ``points`` is below 1.

    Example:
        >>> cell_counts((512, 512, 32), 1024)
        [32, 32, 1]
    """
    if points < 1:
        raise ValueError(f"there must be at least one cell, got {points}")
    counts = [1] * len(shape)
    while 2 * math.prod(counts) <= points:
        edges = [size / count for size, count in zip(shape, counts, strict=True)]
        longest = edges.index(max(edges))
        if edges[longest] < 2:
            break
        counts[longest] *= 2
    return counts


def points_in_cells(counts: Sequence[int], seed: int) -> Tensor:
    """One random point in each cell, float64 ``[P, D]``, in [0, 1) of the extent of each axis; cells in row-major order.

    They are drawn on the host, so that they do not depend on the device.  The mean of a function over such points varies less
    than over points that are drawn independently (Neyman 1934).
    """
    cells = torch.cartesian_prod(*(torch.arange(count, device="cpu") for count in counts)).reshape(-1, len(counts))
    within = torch.rand(cells.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64, device="cpu")
    return (cells + within) / constant(counts, cells)
