"""The latent field: encoder values at grid points, each point read and encoded once."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from monai_cpic.data import Volume
from monai_cpic.devices import constant, ensure, move, on_host
from monai_cpic.networks.grid import points_by_volume, unravelled
from monai_cpic.tensor_train import Memory

__all__ = ["LatentField", "grid_positions"]

POINTS_PER_CALL = 256  # of the encoder: bounds its memory, and stays in the processor's cache
POINTS_PER_READ = 16 * POINTS_PER_CALL  # many at once, since a read of few points is mostly overhead


class LatentField:
    """The latent fields of a batch of volumes: a field as :func:`~monai_cpic.tensor_train.cross_approximate` evaluates it.

    Cross-approximation asks for each channel of a point separately.  The field therefore keeps every latent vector that it has
    computed (those with a graph separate from those without) and calls the encoder for new points only, for all volumes together.
    On an accelerator it encodes every point that is asked for, about a quarter more: which points are new is a value, for which
    the host would have to wait.

    Args:
        volumes: ``B`` volumes with the same number of channels.
        spatial_shape: the grid, ``D`` sizes; points beyond a volume are read by its border mode.
        read: from a volume and grid points, int64 ``[N, D]``, to what ``encode`` sees of them, ``[N, …]``, such as patches.
        encode: from this and the positions of the points ``[N, D]`` (:func:`grid_positions`) to latent vectors ``[N, n_dims]``.
        checkpointing: in the backward pass, read and encode the patches again, chunk by chunk, instead of keeping the encoder's
            intermediate values.
        device: of the coordinates and vectors: that of the encoder.

    Values are finite: a voxel that is not raises a ``ValueError``, an encoder's output that is not a ``FloatingPointError``, both
    with the name of the volume (:func:`~monai_cpic.devices.ensure`).
    """

    def __init__(
        self,
        volumes: Sequence[Volume],
        spatial_shape: Sequence[int],
        read: Callable[[Volume, Tensor], Tensor],
        encode: Callable[[Tensor, Tensor], Tensor],
        checkpointing: bool = False,
        device: torch.device | str = "cpu",
    ) -> None:
        self.volumes = list(volumes)
        self.spatial_shape = tuple(spatial_shape)
        self._read = read
        self._encode_read = encode
        self._checkpointing = checkpointing
        self.device = torch.device(device)
        strides = [math.prod(self.spatial_shape[axis + 1 :]) for axis in range(len(self.spatial_shape))]
        self._strides = constant(strides, self.device)
        self._points_per_volume = math.prod(self.spatial_shape)
        self._batch = self.volumes  # all volumes whose values the memories hold; this field may be a part of them
        self._members = torch.arange(len(self.volumes), device=self.device)  # of this field's volumes in that batch
        # Keys are position in the batch · number of grid points + row-major index of the grid point.  Vectors without a graph
        # cannot be used where gradients are needed.
        self._memories = {False: Memory(self.device), True: Memory(self.device)}
        self._asked: list[tuple[Tensor, Tensor]] = []  # on an accelerator: keys [N] and vectors [N, n_dims] without a graph

    def __len__(self) -> int:
        return len(self.volumes)

    def __getitem__(self, members: Sequence[int]) -> LatentField:
        """The fields of some of the volumes; both objects share the encoded vectors."""
        part = copy.copy(self)
        part.volumes = [self.volumes[b] for b in members]
        part._members = self._members[constant(members, self.device)]
        return part

    @property
    def extents(self) -> Tensor:
        """The part of the grid that each volume fills, int64 ``[B, D]``."""
        pairs = [zip(volume.shape[1:], self.spatial_shape, strict=True) for volume in self.volumes]
        return constant([[min(edge, largest) for edge, largest in pair] for pair in pairs], self.device)

    def __call__(self, coordinates: Tensor) -> Tensor:
        """Values ``[B, P]`` at coordinates, int64 ``[B, P, D + 1]``, of which the last column is the channel."""
        vectors = self.at(coordinates[..., :-1])
        return vectors.gather(2, coordinates[..., -1:]).squeeze(2)

    def at(self, points: Tensor) -> Tensor:
        """Latent vectors ``[B, P, n_dims]`` at grid points, int64 ``[B, P, D]``."""
        keys = (points * self._strides).sum(-1) + self._members[:, None] * self._points_per_volume
        if not on_host(keys):
            vectors = self._everything(points.expand(len(self), -1, -1))
            self._asked.append((keys.flatten(), vectors.detach().flatten(0, 1)))
            return vectors
        if torch.is_grad_enabled():
            return self._memories[True].look_up(keys, self._new)
        return self._memories[False].look_up(keys, self._borrow)

    def maxima(self) -> Tensor:
        """The largest value of each channel over all points encoded so far, ``[B, n_dims]``; with a graph where gradients are
        needed."""
        parts = [(memory.keys, memory.rows().detach()) for memory in self._memories.values() if len(memory.keys)] + self._asked
        keys, vectors = torch.cat([keys for keys, _ in parts]), torch.cat([vectors for _, vectors in parts])
        members = (keys // self._points_per_volume)[:, None].expand(vectors.shape)
        largest = vectors.new_full((len(self._batch), vectors.shape[1]), -torch.inf)
        largest = largest.scatter_reduce(0, members, vectors, "amax").gather(0, members)
        rows = torch.arange(len(keys), device=self.device)[:, None].where(vectors == largest, len(keys))
        first = rows.new_full((len(self._batch), vectors.shape[1]), len(keys)).scatter_reduce(0, members, rows, "amin")
        found = self.at(self._points(keys[first[self._members]]))  # [B, n_dims points, n_dims]
        return found.diagonal(dim1=1, dim2=2)

    @property
    def encoded(self) -> Tensor:
        """Keys of the points that have been encoded, with repetitions: see :func:`~monai_cpic.networks.grid.points_by_volume`."""
        return torch.cat([*(memory.keys for memory in self._memories.values()), *(keys for keys, _ in self._asked)])

    def sampled(self) -> list[Tensor]:
        """For each volume, the grid points that have been encoded, int64 ``[N_b, D]``."""
        every = points_by_volume(self.encoded, len(self._batch), self.spatial_shape)
        return [every[member] for member in self._members.tolist()]

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
        points = self._points(keys).split(counts.tolist())
        return self._encode_points([self._batch[member] for member in members.tolist()], points, POINTS_PER_CALL)

    def _everything(self, points: Tensor) -> Tensor:
        """Latent vectors ``[B, P, n_dims]`` of all points ``[B, P, D]``, whether they are known or not."""
        encode = self._encode_all
        if self._checkpointing and torch.is_grad_enabled():
            encode = partial(checkpoint, encode, use_reentrant=False)
        return torch.cat([encode(part) for part in points.split(max(1, POINTS_PER_READ // len(self)), 1)], 1)

    def _encode_all(self, points: Tensor) -> Tensor:
        return self._encode_points(self.volumes, points.unbind(), POINTS_PER_READ).unflatten(0, points.shape[:2])

    def _encode_points(self, volumes: Sequence[Volume], points: Sequence[Tensor], per_call: int) -> Tensor:
        """Latent vectors ``[N, n_dims]`` of some points of each volume, read volume by volume and encoded together."""
        parts = list(zip(volumes, points, strict=True))
        read = torch.cat([move(self._read(volume, own), self.device) for volume, own in parts])
        positions = grid_positions(torch.cat(list(points)), self.spatial_shape)
        calls = zip(read.split(per_call), positions.split(per_call), strict=True)
        vectors = torch.cat([self._encode_read(part, where) for part, where in calls])
        good = vectors.detach().isfinite().all(1)

        def error() -> FloatingPointError:
            volume, point = [(volume, point) for volume, own in parts for point in own][int((~good).nonzero()[0])]
            return FloatingPointError(
                f"{volume.key or 'a volume'}: the encoder gives values that are NaN or infinite at {point.tolist()}; its weights "
                "have diverged, or the intensities are too large for it: scale them, or lower the learning rate"
            )

        ensure(good, error)
        return vectors

    def _points(self, keys: Tensor) -> Tensor:
        """Grid points ``[N, D]`` of keys."""
        return unravelled(keys % self._points_per_volume, self.spatial_shape)


def grid_positions(points: Tensor, spatial_shape: Sequence[int]) -> Tensor:
    """Where grid points lie, float32 ``[N, D]``: from -1 to 1 along each axis, the ends being the borders of the outer voxels.

    Example:
        >>> grid_positions(torch.tensor([[0, 0], [3, 1]]), (4, 2)).tolist()
        [[-0.75, -0.5], [0.75, 0.5]]
    """
    return ((2 * points + 1) / constant(spatial_shape, points) - 1).float()
