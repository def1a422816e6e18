"""The latent field: encoder values at grid points, each point read and encoded once."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from monai_cpic.data import LazyVolume
from monai_cpic.tensor_train import Memory

__all__ = ["LatentField"]

POINTS_PER_CHUNK = 256  # one call of the encoder: bounds its memory, and stays in the processor's cache


class LatentField:
    """Values of a batch of volumes under an encoder, as :func:`~monai_cpic.tensor_train.cross_approximate` asks for them.

    Cross-approximation asks for each channel of a point apart.  The field keeps every latent vector that it computed (those with
    a graph and those without apart) and calls the encoder for new points only, for all volumes together.

    Args:
        volumes: ``B`` volumes of the same number of channels.
        spatial_shape: the grid; points beyond a volume are read by its border mode.
        encode: latent vectors ``[N, n_dims]`` of cubes ``[N, C, *size]``.
        size: edge of the cubes.
        recompute: read and encode again in the backward pass, chunk by chunk, instead of keeping what it needs.
    """

    def __init__(
        self,
        volumes: Sequence[LazyVolume],
        spatial_shape: Sequence[int],
        encode: Callable[[Tensor], Tensor],
        size: int,
        recompute: bool = False,
    ) -> None:
        self.volumes = volumes
        self.encode = encode
        self.size = size
        self.recompute = recompute
        self.strides = torch.tensor([math.prod(spatial_shape[axis + 1 :]) for axis in range(len(spatial_shape))])
        self.points = math.prod(spatial_shape)
        # Of vectors, by volume · points + row-major position; those without a graph are of no use where one is wanted.
        self.memories = {False: Memory(), True: Memory()}

    def __call__(self, coordinates: Tensor) -> Tensor:
        """Values ``[B, P]`` at int64 ``[B, P, D + 1]``, the last number being the channel."""
        vectors = self.at(coordinates[..., :-1])
        return vectors.gather(2, coordinates[..., -1:]).squeeze(2)

    def at(self, points: Tensor) -> Tensor:
        """Latent vectors ``[B, P, n_dims]`` at int64 ``[B, P, D]``."""
        volume = torch.arange(len(points))[:, None] * self.points
        memory = self.memories[torch.is_grad_enabled()]
        return memory.look_up((points * self.strides).sum(-1) + volume, self._new)

    def sampled(self) -> list[Tensor]:
        """For each volume, the grid points that were encoded, int64 ``[N_b, D]``."""
        keys = torch.cat([memory.keys for memory in self.memories.values()]).unique()
        volume, points = keys // self.points, self._points(keys)
        return [points[volume == b] for b in range(len(self.volumes))]

    def _new(self, keys: Tensor) -> Tensor:
        chunks = keys.split(POINTS_PER_CHUNK)
        if self.recompute and torch.is_grad_enabled():
            return torch.cat([checkpoint(self._encode, chunk, use_reentrant=False) for chunk in chunks])
        return torch.cat([self._encode(chunk) for chunk in chunks])

    def _encode(self, keys: Tensor) -> Tensor:
        """Latent vectors of sorted keys, read volume by volume and encoded together."""
        volumes, counts = torch.unique_consecutive(keys // self.points, return_counts=True)
        parts = self._points(keys).split(counts.tolist())
        cubes = [self.volumes[b].gather(part, self.size) for b, part in zip(volumes.tolist(), parts, strict=True)]
        return self.encode(torch.cat(cubes))

    def _points(self, keys: Tensor) -> Tensor:
        """Grid points ``[N, D]`` of keys."""
        rest, points = keys % self.points, []
        for stride in self.strides.tolist():
            points.append(rest // stride)
            rest = rest % stride
        return torch.stack(points, -1)
