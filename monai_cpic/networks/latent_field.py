"""The latent field: encoder values at grid points, each point read and encoded once."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from monai_cpic.data import Volume
from monai_cpic.networks.grid import finite_patches
from monai_cpic.tensor_train import Memory

__all__ = ["LatentField", "grid_positions"]

POINTS_PER_CALL = 256  # of the encoder: bounds its memory, and stays in the processor's cache
POINTS_PER_READ = 16 * POINTS_PER_CALL  # many at once, since a read of few points is mostly overhead


class LatentField:
    """The latent fields of a batch of volumes: a field as :func:`~monai_cpic.tensor_train.cross_approximate` evaluates it.

    Cross-approximation asks for each channel of a point separately.  The field therefore keeps every latent vector that it has
    computed (those with a graph separate from those without) and calls the encoder for new points only, for all volumes together.

    Args:
        volumes: ``B`` volumes with the same number of channels.
        spatial_shape: the grid, ``D`` sizes; points beyond a volume are read by its border mode.
        encode: from patches ``[N, L·C, *size]`` and their positions ``[N, D]`` (:func:`grid_positions`) to latent vectors
            ``[N, n_dims]``.
        size: edge of the patches.
        steps: distances between their voxels, see :meth:`~monai_cpic.data.LazyVolume.gather`.
        checkpointing: in the backward pass, read and encode the patches again, chunk by chunk, instead of keeping the encoder's
            intermediate values.

    Values are finite: a voxel that is not raises a ``ValueError``, an encoder's output that is not a ``FloatingPointError``, both
    with the name of the volume.
    """

    def __init__(
        self,
        volumes: Sequence[Volume],
        spatial_shape: Sequence[int],
        encode: Callable[[Tensor, Tensor], Tensor],
        size: int,
        steps: Sequence[int] = (1,),
        checkpointing: bool = False,
    ) -> None:
        self.volumes = list(volumes)
        self.spatial_shape = tuple(spatial_shape)
        self._encode_patches = encode
        self._size = size
        self._steps = steps
        self._checkpointing = checkpointing
        self._strides = torch.tensor([math.prod(self.spatial_shape[axis + 1 :]) for axis in range(len(self.spatial_shape))])
        self._points_per_volume = math.prod(self.spatial_shape)
        self._batch = self.volumes  # all volumes whose values the memories hold; this field may be a part of them
        self._members = torch.arange(len(self.volumes))  # of this field's volumes in that batch
        # Keys are position in the batch · number of grid points + row-major index of the grid point.  Vectors without a graph
        # cannot be used where gradients are needed.
        self._memories = {False: Memory(), True: Memory()}

    def __len__(self) -> int:
        return len(self.volumes)

    def __getitem__(self, members: Sequence[int]) -> LatentField:
        """The fields of some of the volumes; both objects share the encoded vectors."""
        part = copy.copy(self)
        part.volumes = [self.volumes[b] for b in members]
        part._members = self._members[list(members)]
        return part

    @property
    def extents(self) -> Tensor:
        """The part of the grid that each volume fills, int64 ``[B, D]``."""
        shapes = torch.tensor([volume.shape[1:] for volume in self.volumes])
        return torch.minimum(shapes, torch.tensor(self.spatial_shape))

    def __call__(self, coordinates: Tensor) -> Tensor:
        """Values ``[B, P]`` at coordinates, int64 ``[B, P, D + 1]``, of which the last column is the channel."""
        vectors = self.at(coordinates[..., :-1])
        return vectors.gather(2, coordinates[..., -1:]).squeeze(2)

    def at(self, points: Tensor) -> Tensor:
        """Latent vectors ``[B, P, n_dims]`` at grid points, int64 ``[B, P, D]``."""
        keys = (points * self._strides).sum(-1) + self._members[:, None] * self._points_per_volume
        if torch.is_grad_enabled():
            return self._memories[True].look_up(keys, self._new)
        return self._memories[False].look_up(keys, self._borrow)

    def maxima(self) -> Tensor:
        """The largest value of each channel over all points encoded so far, ``[B, n_dims]``; with a graph where gradients are
        needed."""
        parts = [memory for memory in self._memories.values() if len(memory.keys)]
        keys, vectors = torch.cat([memory.keys for memory in parts]), torch.cat([memory.rows().detach() for memory in parts])
        members = (keys // self._points_per_volume)[:, None].expand(vectors.shape)
        largest = vectors.new_full((len(self._batch), vectors.shape[1]), -torch.inf)
        largest = largest.scatter_reduce(0, members, vectors, "amax").gather(0, members)
        rows = torch.arange(len(keys))[:, None].where(vectors == largest, len(keys))
        first = rows.new_full((len(self._batch), vectors.shape[1]), len(keys)).scatter_reduce(0, members, rows, "amin")
        found = self.at(self._points(keys[first[self._members]]))  # [B, n_dims points, n_dims]
        return found.diagonal(dim1=1, dim2=2)

    def sampled(self) -> list[Tensor]:
        """For each volume, the grid points that have been encoded, int64 ``[N_b, D]``."""
        keys = torch.cat([memory.keys for memory in self._memories.values()]).unique()
        members, points = keys // self._points_per_volume, self._points(keys)
        return [points[members == member] for member in self._members]

    def _borrow(self, keys: Tensor) -> Tensor:
        """Vectors without a graph: those with one serve as well, the others are new."""
        known, vectors = self._memories[True].known(keys)
        if vectors is None:
            return self._new(keys)
        rows = vectors.new_empty(len(keys), vectors.shape[1])
        rows[known] = vectors
        if not known.all():
            rows[~known] = self._new(keys[~known])
        return rows

    def _new(self, keys: Tensor) -> Tensor:
        if self._checkpointing and torch.is_grad_enabled():
            chunks = keys.split(POINTS_PER_CALL)
            return torch.cat([checkpoint(self._encode, chunk, use_reentrant=False) for chunk in chunks])
        return torch.cat([self._encode(chunk) for chunk in keys.split(POINTS_PER_READ)])

    def _encode(self, keys: Tensor) -> Tensor:
        """Latent vectors of sorted keys, read volume by volume and encoded together."""
        members, counts = torch.unique_consecutive(keys // self._points_per_volume, return_counts=True)
        points = self._points(keys)
        parts = zip(members.tolist(), points.split(counts.tolist()), strict=True)
        patches = torch.cat([finite_patches(self._batch[member], part, self._size, self._steps) for member, part in parts])
        calls = zip(
            patches.split(POINTS_PER_CALL), grid_positions(points, self.spatial_shape).split(POINTS_PER_CALL), strict=True
        )
        vectors = torch.cat([self._encode_patches(part, positions) for part, positions in calls])
        bad = ~vectors.detach().isfinite().all(1)
        if bad.any():
            volume = self._batch[int(members.repeat_interleave(counts)[bad][0])]
            raise FloatingPointError(
                f"{volume.key or 'a volume'}: the encoder gives values that are NaN or infinite at {points[bad][0].tolist()}; "
                "its weights have diverged, or the intensities are too large for it: scale them, or lower the learning rate"
            )
        return vectors

    def _points(self, keys: Tensor) -> Tensor:
        """Grid points ``[N, D]`` of keys."""
        return torch.stack(torch.unravel_index(keys % self._points_per_volume, self.spatial_shape), -1)


def grid_positions(points: Tensor, spatial_shape: Sequence[int]) -> Tensor:
    """Where grid points lie, float32 ``[N, D]``: from -1 to 1 along each axis, the ends being the borders of the outer voxels.

    Example:
        >>> grid_positions(torch.tensor([[0, 0], [3, 1]]), (4, 2)).tolist()
        [[-0.75, -0.5], [0.75, 0.5]]
    """
    return ((2 * points + 1) / torch.tensor(spatial_shape, device=points.device) - 1).float()
