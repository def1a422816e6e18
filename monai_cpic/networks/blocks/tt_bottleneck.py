"""The tensor-train bottleneck: from volumes to tensor trains of their latent fields."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import torch
from monai.utils import evenly_divisible_all_gather
from torch import Tensor, nn

from monai_cpic.data import LazyVolume
from monai_cpic.networks.blocks.grid import check_volume
from monai_cpic.networks.blocks.index_store import IndexStore
from monai_cpic.networks.blocks.latent_field import LatentField
from monai_cpic.networks.blocks.patch_encoder import PatchEncoder
from monai_cpic.networks.blocks.voxel_encoder import VoxelEncoder
from monai_cpic.tensor_train import CrossIndices, Sweep, TensorTrain, cross_approximate, mode_sizes, qtt_modes, tt_modes

__all__ = ["TTBottleneck"]

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
        decomposition: ``"cross"``, or ``"svd"`` for the exact TT-SVD of the dense field, for small grids.
        oversampling: see :func:`~monai_cpic.tensor_train.cross_approximate`; 1 is the paper's plain cross.
        passes: passes of a cold start.
        indices: where the next training steps start; default: an :class:`IndexStore` in memory that chooses anew every step.
        index_batching: bound the memory of a training step: the encoder's intermediate values are kept for one chunk of points
            at a time, and computed again from the volumes in the backward pass (paper, section 4).  The gradients are the same,
            the time that of one more forward pass.

    Attributes:
        sampled: for each volume of the last call, the grid points that were encoded, int64 ``[N, D]``.

    Raises:
        ValueError: for an unknown tensorization or decomposition.
    """

    def __init__(
        self,
        encoder: PatchEncoder | VoxelEncoder,
        spatial_shape: Sequence[int],
        rank: int = 10,
        tensorization: str = "qtt",
        decomposition: str = "cross",
        oversampling: float = 1.5,
        passes: int = 2,
        indices: IndexStore | None = None,
        index_batching: bool = False,
    ) -> None:
        super().__init__()
        if tensorization not in ("qtt", "tt") or decomposition not in ("cross", "svd"):
            raise ValueError(
                f'tensorization is "qtt" or "tt" and decomposition "cross" or "svd", got {tensorization!r} and {decomposition!r}'
            )
        self.encoder = encoder
        self.spatial_shape = tuple(spatial_shape)
        self.rank = rank
        self.modes = {"qtt": qtt_modes, "tt": tt_modes}[tensorization](self.spatial_shape, encoder.n_dims)
        self.decomposition = decomposition
        self.oversampling = oversampling
        self.passes = passes
        self.standardise = nn.BatchNorm1d(encoder.n_dims, affine=False)
        self.indices = IndexStore() if indices is None else indices
        self.index_batching = index_batching
        self.sampled: list[Tensor] = []

    @property
    def mode_sizes(self) -> list[int]:
        """Mode sizes of the tensor trains."""
        return mode_sizes(self.modes)

    def forward(self, volumes: Sequence[LazyVolume]) -> TensorTrain:
        """Tensor trains (float64, on the CPU) of the volumes' standardised latent fields, in the order of ``volumes``.

        Raises:
            ValueError: if a volume has other channels than the encoder or is larger than the grid.
        """
        for volume in volumes:
            check_volume(volume, self.encoder.in_channels, self.spatial_shape)
        if self.training:
            self._update_statistics(volumes)
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

    @torch.no_grad()
    def _update_statistics(self, volumes: Sequence[LazyVolume]) -> None:
        """Running mean and variance of each latent channel from random points; the first batch sets them.

        The points depend on the step alone and the batch is that of all processes: its parts give what it gives as a whole.
        """
        running = self.standardise
        assert running.num_batches_tracked is not None
        step = int(running.num_batches_tracked)
        shape = torch.tensor(self.spatial_shape)
        places = torch.rand(STATISTICS_POINTS, len(shape), generator=torch.Generator().manual_seed(step))
        latent = []
        for volume in volumes:
            points = (places * torch.minimum(shape, torch.tensor(volume.shape[1:]))).long()
            latent.append(self._latent(volume.gather(points, self.encoder.receptive_field)))
        running.momentum = 0.1 if step else 1.0
        running.train()(evenly_divisible_all_gather(torch.cat(latent)))
