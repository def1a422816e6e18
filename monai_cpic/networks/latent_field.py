"""The latent field: encoder values at grid points, each point read and encoded once."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from monai_cpic.data import Volume
from monai_cpic.tensor_train import Memory

__all__ = ["LatentField"]

POINTS_PER_CHUNK = 256  # one call of the encoder: bounds its memory, and stays in the processor's cache


class LatentField:
    """The latent fields of a batch of volumes: a field as :func:`~monai_cpic.tensor_train.cross_approximate` evaluates it.

    Cross-approximation asks for each channel of a point separately.  The field therefore keeps every latent vector that it has
    computed (those with a graph separate from those without) and calls the encoder for new points only, for all volumes together.

    Args:
        volumes: ``B`` volumes with the same number of channels.
        spatial_shape: the grid, ``D`` sizes; points beyond a volume are read by its border mode.
        encode: from patches ``[N, C, *size]`` to latent vectors ``[N, n_dims]``.
        size: edge of the patches.
        checkpointing: in the backward pass, read and encode the patches again, chunk by chunk, instead of keeping the encoder's
            intermediate values.
    """

    def __init__(
        self,
        volumes: Sequence[Volume],
        spatial_shape: Sequence[int],
        encode: Callable[[Tensor], Tensor],
        size: int,
        checkpointing: bool = False,
    ) -> None:
        self.volumes = list(volumes)
        self.spatial_shape = tuple(spatial_shape)
        self._encode_patches = encode
        self._size = size
        self._checkpointing = checkpointing
        self._strides = torch.tensor([math.prod(self.spatial_shape[axis + 1 :]) for axis in range(len(self.spatial_shape))])
        self._points_per_volume = math.prod(self.spatial_shape)
        self._batch = self.volumes  # all volumes whose values the memories hold; this field may be a part of them
        self._positions = torch.arange(len(self.volumes))  # of this field's volumes in that batch
        # Keys are position in the batch · number of grid points + row-major index of the grid point.  Vectors without a graph
        # cannot be used where gradients are needed.
        self._memories = {False: Memory(), True: Memory()}

    def __len__(self) -> int:
        return len(self.volumes)

    def __getitem__(self, members: Sequence[int]) -> LatentField:
        """The fields of some of the volumes; both objects share the encoded vectors."""
        part = copy.copy(self)
        part.volumes = [self.volumes[b] for b in members]
        part._positions = self._positions[list(members)]
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
        keys = (points * self._strides).sum(-1) + self._positions[:, None] * self._points_per_volume
        return self._memories[torch.is_grad_enabled()].look_up(keys, self._new)

    def sampled(self) -> list[Tensor]:
        """For each volume, the grid points that have been encoded, int64 ``[N_b, D]``."""
        keys = torch.cat([memory.keys for memory in self._memories.values()]).unique()
        positions, points = keys // self._points_per_volume, self._points(keys)
        return [points[positions == position] for position in self._positions]

    def _new(self, keys: Tensor) -> Tensor:
        chunks = keys.split(POINTS_PER_CHUNK)
        if self._checkpointing and torch.is_grad_enabled():
            return torch.cat([checkpoint(self._encode, chunk, use_reentrant=False) for chunk in chunks])
        return torch.cat([self._encode(chunk) for chunk in chunks])

    def _encode(self, keys: Tensor) -> Tensor:
        """Latent vectors of sorted keys, read volume by volume and encoded together."""
        positions, counts = torch.unique_consecutive(keys // self._points_per_volume, return_counts=True)
        parts = self._points(keys).split(counts.tolist())
        patches = [self._batch[b].gather(points, self._size) for b, points in zip(positions.tolist(), parts, strict=True)]
        return self._encode_patches(torch.cat(patches))

    def _points(self, keys: Tensor) -> Tensor:
        """Grid points ``[N, D]`` of keys."""
        return torch.stack(torch.unravel_index(keys % self._points_per_volume, self.spatial_shape), -1)
