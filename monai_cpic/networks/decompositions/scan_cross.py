"""A coarse scan, then cross-approximation that starts from what the scan saw."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from monai_cpic.devices import move
from monai_cpic.networks.decompositions.base import TensorizedDecomposition
from monai_cpic.networks.decompositions.random_cells import cell_counts, points_in_cells
from monai_cpic.networks.latent_field import LatentField
from monai_cpic.networks.sampled_field import SampledField
from monai_cpic.tensor_train import Mode, TensorTrain, cross_approximate, initial_indices

__all__ = ["ScanCross"]

FINER = 2  # parts of each cell in evaluation, one voxel in each


class ScanCross(TensorizedDecomposition):
    """One random voxel in each cell, then the points that a cross-approximation asks for which is seeded by the best of them.

    Random cells see what is spread over the scan and miss what is small; cross-approximation follows what is small, but only from
    a start that shows it.  The seeds are, for each channel of the field, the point of the scan with the largest value, the
    channels with the largest values first (:func:`~monai_cpic.tensor_train.initial_indices`).  The scan gives the means of the
    channels, scan and cross together their maxima.

    In training every step scans other voxels; evaluation always scans the same, so that a prediction depends on the weights and
    the volume alone.  It then scans a partition that is twice as fine: a mean of more voxels is more precise, and less is missed.
    Maxima of more voxels are larger, however: refresh the network before an evaluation
    (:class:`~monai_cpic.handlers.RefreshHandler`), so that projection and readout know those of the evaluation.

    Args:
        modes: the tensorization of grid and channels, see :class:`TensorizedDecomposition`; ``radix=4`` is faster than binary
            modes, and finds what is small as reliably with a rank of 5 as those with 6.
        rank: bond rank of the tensor trains, and the largest number of seeds.
        cells: at most so many cells of the scan.
        oversampling: rows per bond in units of ``rank``, see :func:`~monai_cpic.tensor_train.cross_approximate`.
        passes: sweeps.
        gradient: whether the tensor trains have a gradient in training, through the last sweep, as a projection of them such as
            :class:`~monai_cpic.networks.TTProjection` needs it.  Means and maxima always have one.

    Raises:
        ValueError: if ``rank`` or ``cells`` is below 1.

    Example:
        >>> from monai_cpic.networks import CPICNet, PooledEncoder
        >>> from monai_cpic.tensor_train import qtt_modes
        >>> scan_cross = ScanCross(qtt_modes((16, 16, 8), channels=4, radix=4), rank=4, cells=64)
        >>> net = CPICNet(encoder=PooledEncoder(n_dims=4), decomposition=scan_cross)
        >>> net(torch.rand(2, 1, 16, 16, 8)).shape
        torch.Size([2, 1])
    """

    def __init__(
        self,
        modes: Sequence[Mode],
        rank: int = 5,
        cells: int = 512,
        oversampling: float = 1.5,
        passes: int = 2,
        gradient: bool = False,
    ) -> None:
        super().__init__(modes, rank)
        self.cells = cell_counts(self.spatial_shape, cells)
        self.parts = cell_counts(self.spatial_shape, FINER * cells)
        self.scan_sizes = [math.prod(self.cells) * self.n_dims]
        self.oversampling = oversampling
        self.passes = passes
        self.gradient = gradient

    def forward(self, field: LatentField, step: int | None) -> SampledField:
        counts, seed = (self.parts, 0) if step is None else (self.cells, step)
        points = (move(points_in_cells(counts, seed), field.device) * field.extents[:, None]).long()
        vectors = field.at(points)
        seeds = self._seeds(points, vectors.detach())
        modes = self.modes_of(field)
        with torch.set_grad_enabled(self.gradient and torch.is_grad_enabled()):
            trains, _ = cross_approximate(
                field,
                modes,
                self.rank,
                batch_size=len(field),
                oversampling=self.oversampling,
                passes=self.passes,
                completion=0,
                indices=initial_indices(modes, self.rank, seeds=seeds),
            )
        vectors = vectors.double()
        scan = TensorTrain([self._means_of_cells(vectors, counts).reshape(len(field), 1, -1, 1)])
        return SampledField(trains, vectors.mean(1), field.maxima().double(), scan)

    def _means_of_cells(self, vectors: Tensor, counts: Sequence[int]) -> Tensor:
        """The mean in each cell, ``[B, P, n_dims]``, of the vectors of a finer partition, ``[B, prod(counts), n_dims]``."""
        parts = [size for cells, count in zip(self.cells, counts, strict=True) for size in (cells, count // cells)]
        return vectors.unflatten(1, parts).mean(tuple(range(2, 2 + len(parts), 2))).flatten(1, -2)

    def _seeds(self, points: Tensor, vectors: Tensor) -> Tensor:
        """For each channel the scanned point of its largest value, the largest first, ``[B, n_dims, D + 1]``."""
        values, place = vectors.max(1)  # [B, n_dims]
        channels = values.argsort(dim=1, descending=True, stable=True)
        best = points.take_along_dim(place.gather(1, channels)[..., None], 1)
        return torch.cat([best, channels[..., None]], -1)
