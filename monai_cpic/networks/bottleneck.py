"""The tensor-train bottleneck: from volumes to tensor trains of their latent fields."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

import torch
from monai.utils import evenly_divisible_all_gather
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from monai_cpic.data import LazyVolume
from monai_cpic.networks.decompositions.index_store import IndexStore
from monai_cpic.networks.decompositions.strata import cell_counts, stratified_places
from monai_cpic.networks.encoders.patch import PatchEncoder
from monai_cpic.networks.encoders.pooled import PooledEncoder
from monai_cpic.networks.encoders.voxel import VoxelEncoder
from monai_cpic.networks.grid import check_volume
from monai_cpic.networks.latent_field import LatentField
from monai_cpic.tensor_train import CrossIndices, Sweep, TensorTrain, cross_approximate, mode_sizes, qtt_modes, tt_modes

__all__ = ["TTBottleneck"]

PLACES = 4  # of each cell of a stratified field, of which an evaluation takes the mean
STATISTICS_POINTS = 100  # random points per volume and step that update the running statistics


class TTBottleneck(nn.Module):
    """Latent fields of volumes as tensor trains, from the cubes that cross-approximation asks for (paper, section 3.2).

    The field is standardised per channel by running statistics, since a constant part would take the rank.  In training a
    volume's index sets are warm-started from its last step (one pass); volumes seen first, and all volumes in evaluation, start
    from the same seeded random sets, so that a prediction depends on the weights and the scan alone.

    Args:
        encoder: cubes to latent vectors, with ``n_dims``, ``in_channels`` and ``receptive_field``.
        spatial_shape: the grid.  Smaller volumes are padded virtually by their border mode, larger ones are refused.
        rank: bond rank of the tensor trains.
        tensorization: ``"qtt"`` or ``"tt"``.
        decomposition: ``"cross"``; ``"svd"`` for the exact TT-SVD of the dense field, for small grids; ``"stratified"`` for the
            field at one random point of each cell of a coarse partition of the volume, as a tensor train of a single mode, of all
            channels of all cells.  New places in each training step; the mean of four places, always the same, in evaluation.
        oversampling: see :func:`~monai_cpic.tensor_train.cross_approximate`; 1 is the paper's plain cross.
        passes: passes of a cold start.
        indices: where the next training steps start; default: an :class:`IndexStore` in memory that chooses anew every step.
        index_batching: bound the memory of a training step: the encoder's intermediate values are kept for one chunk of points
            at a time, and computed again from the volumes in the backward pass (paper, section 4).  The gradients are the same,
            the time that of one more forward pass.
        cells: most cells of ``"stratified"``.

    Attributes:
        mode_sizes: mode sizes of the tensor trains.
        bond_rank: bond rank of the tensor trains.
        sampled: for each volume of the last call, the grid points that were encoded, int64 ``[N, D]``.

    Encoders may have batch normalization.  A latent field is a function of the cube alone, so it sees running statistics, also in
    training; they are updated once in a step, from random cubes.

    Raises:
        ValueError: for an unknown tensorization or decomposition.
    """

    def __init__(
        self,
        encoder: PatchEncoder | PooledEncoder | VoxelEncoder,
        spatial_shape: Sequence[int],
        rank: int = 10,
        tensorization: str = "qtt",
        decomposition: str = "cross",
        oversampling: float = 1.5,
        passes: int = 2,
        indices: IndexStore | None = None,
        index_batching: bool = False,
        cells: int = 1024,
    ) -> None:
        super().__init__()
        if tensorization not in ("qtt", "tt") or decomposition not in ("cross", "svd", "stratified"):
            raise ValueError(
                f'tensorization is "qtt" or "tt" and decomposition "cross", "svd" or "stratified", got {tensorization!r} and '
                f"{decomposition!r}"
            )
        self.encoder = encoder
        self.spatial_shape = tuple(spatial_shape)
        self.rank = rank
        self.modes = {"qtt": qtt_modes, "tt": tt_modes}[tensorization](self.spatial_shape, encoder.n_dims)
        self.decomposition = decomposition
        self.cells = cell_counts(self.spatial_shape, cells)
        stratified = decomposition == "stratified"
        self.mode_sizes = [math.prod(self.cells) * encoder.n_dims] if stratified else mode_sizes(self.modes)
        self.bond_rank = rank
        self.oversampling = oversampling
        self.passes = passes
        self.standardise = nn.BatchNorm1d(encoder.n_dims, affine=False)
        self.indices = IndexStore() if indices is None else indices
        self.index_batching = index_batching
        self.sampled: list[Tensor] = []

    def forward(self, volumes: Sequence[LazyVolume]) -> TensorTrain:
        """Tensor trains (float64, on the CPU) of the volumes' standardised latent fields, in the order of ``volumes``.

        Raises:
            ValueError: if a volume has other channels than the encoder or is larger than the grid.
        """
        for volume in volumes:
            check_volume(volume, self.encoder.in_channels, self.spatial_shape)
        self.encoder.eval()
        if self.training:
            self._update_statistics(volumes)
        if self.decomposition == "stratified":
            return self._stratified(volumes)
        if self.decomposition == "svd":
            return self._svd(volumes)
        if self.training:
            return self._warm(volumes)
        return self._cold(volumes, self.passes)[0]

    # ---- cross-approximation -------------------------------------------------------------------------------------------

    def _cold(self, volumes: Sequence[LazyVolume], passes: int) -> tuple[TensorTrain, CrossIndices]:
        """Passes from random index sets."""
        field = self._field(volumes)
        result = cross_approximate(
            field,
            self.modes,
            self.rank,
            batch_size=len(volumes),
            oversampling=self.oversampling,
            passes=passes,
            completion=0,
        )
        self.sampled = field.sampled()
        return result

    def _warm(self, volumes: Sequence[LazyVolume]) -> TensorTrain:
        """One pass with gradient from the volumes' index sets, which it renews."""
        starts = self._starts(volumes)
        kinds: dict[tuple[str, bool], list[int]] = defaultdict(list)
        for b, start in enumerate(starts):
            kinds[start.side, start.rows is None].append(b)
        trains, sampled, order = [], [], []
        for members in kinds.values():
            field = self._field([volumes[b] for b in members])
            sweep = Sweep(field, self.modes, self.oversampling)
            train, following = sweep(CrossIndices.cat([starts[b] for b in members]))
            for position, b in enumerate(members):
                one = slice(position, position + 1)
                self.indices.put(volumes[b].key, following[one], sweep.repeat[one])
            trains.append(train)
            sampled += field.sampled()
            order += members
        back = torch.tensor(order).argsort()
        self.sampled = [sampled[b] for b in back.tolist()]
        return TensorTrain.cat(trains)[back]

    @torch.no_grad()
    def _starts(self, volumes: Sequence[LazyVolume]) -> list[CrossIndices]:
        """The kept index sets of each volume; for one seen first, those that all passes of a cold start but the last lead to."""
        kept = [self.indices.get(volume.key) for volume in volumes]
        new = [volume for volume, indices in zip(volumes, kept, strict=True) if indices is None]
        made: list[CrossIndices] = []
        if new:
            _, indices = self._cold(new, max(self.passes - 1, 1))
            made = [indices[b : b + 1] for b in range(len(new))]
        fresh = iter(made)
        return [next(fresh) if indices is None else indices for indices in kept]

    def _svd(self, volumes: Sequence[LazyVolume]) -> TensorTrain:
        """TT-SVD of the dense fields, volume by volume."""
        axes = [torch.arange(size) for size in self.spatial_shape]
        points = torch.cartesian_prod(*axes).reshape(1, -1, len(axes))
        trains, self.sampled = [], [points[0]] * len(volumes)
        for volume in volumes:
            dense = self._field([volume]).at(points).reshape(1, *self.spatial_shape, -1)
            trains.append(TensorTrain.from_dense(dense.double(), self.modes, self.rank))
        return TensorTrain.cat(trains)

    def _stratified(self, volumes: Sequence[LazyVolume]) -> TensorTrain:
        """The field at one point of each cell, or the mean of some, as one core."""
        seeds = [int(self._steps)] if self.training else range(PLACES)
        places = torch.cat([stratified_places(self.cells, seed) for seed in seeds])
        field = self._field(volumes)
        values = field.at(torch.stack([(places * self._extent(volume)).long() for volume in volumes])).double()
        self.sampled = field.sampled()
        return TensorTrain([values.unflatten(1, (len(seeds), -1)).mean(1).reshape(len(volumes), 1, -1, 1)])

    # ---- the field -----------------------------------------------------------------------------------------------------

    def _field(self, volumes: Sequence[LazyVolume]) -> LatentField:
        return LatentField(volumes, self.spatial_shape, self._encode, self.encoder.receptive_field, self.index_batching)

    def _latent(self, cubes: Tensor) -> Tensor:
        """Latent vectors, computed where and in what precision the encoder lives; under autocast they come back in the latter."""
        mean = self.standardise.running_mean
        return self.encoder(cubes.to(mean)).to(mean)

    def _encode(self, cubes: Tensor) -> Tensor:
        """Standardised latent vectors, returned to the CPU, where the index sets are."""
        running = self.standardise
        return nn.functional.batch_norm(self._latent(cubes), running.running_mean, running.running_var, eps=running.eps).cpu()

    @property
    def _steps(self) -> Tensor:
        """Training steps so far."""
        assert self.standardise.num_batches_tracked is not None
        return self.standardise.num_batches_tracked

    def _extent(self, volume: LazyVolume) -> Tensor:
        """The part of the grid that a volume fills, ``[D]``."""
        return torch.minimum(torch.tensor(self.spatial_shape), torch.tensor(volume.shape[1:]))

    @torch.no_grad()
    def _update_statistics(self, volumes: Sequence[LazyVolume]) -> None:
        """Running statistics of the encoder and of each latent channel from random points; the first batch sets them.

        The points depend on the step alone and the batch is that of all processes: its parts give what it gives as a whole.
        """
        step = int(self._steps)
        generator = torch.Generator().manual_seed(step)
        places = torch.rand(STATISTICS_POINTS, len(self.spatial_shape), generator=generator)
        cubes = [volume.gather((places * self._extent(volume)).long(), self.encoder.receptive_field) for volume in volumes]
        running = [layer for layer in self.modules() if isinstance(layer, _BatchNorm)]
        for layer in running:
            layer.momentum = 0.1 if step else 1.0
            layer.train()
        self.standardise(self._latent(evenly_divisible_all_gather(torch.cat(cubes))))
        for layer in running:
            layer.eval()
