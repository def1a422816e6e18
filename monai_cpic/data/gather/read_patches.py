"""Patches that were read in advance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["ReadPatches"]


@dataclass(frozen=True, eq=False)
class ReadPatches:
    """Patches of a volume that are in memory, found by their centres.

    Args:
        centres: int64 ``[M, D]``, not negative, distinct.
        values: ``[M, L·C, *size]``.
        steps: ``L`` distances between the voxels of the patches.
    """

    centres: Tensor
    values: Tensor
    steps: tuple[int, ...] = (1,)

    def are(self, size: Sequence[int], steps: Sequence[int], dtype: torch.dtype) -> bool:
        """Whether the patches have this size, these steps and this dtype."""
        own = tuple(self.values.shape[2:]), self.steps, self.values.dtype
        return own == (tuple(size), tuple(steps), dtype)

    def find(self, centres: Tensor) -> tuple[Tensor, Tensor]:
        """Look up patches by their centres.

        Args:
            centres: int64 ``[N, D]``.

        Returns:
            bool ``[N]``, True for the centres that are here, and the positions of these in :attr:`values`.

        Example:
            >>> patches = ReadPatches(torch.tensor([[5, 0], [1, 2]]), torch.zeros(2, 1, 3, 3))
            >>> patches.find(torch.tensor([[1, 2], [1, 3], [9, 9]]))
            (tensor([ True, False, False]), tensor([1]))
        """
        edges = self.centres.amax(0) + 1
        strides = torch.cat([edges.flip(0).cumprod(0).flip(0)[1:], torch.ones_like(edges[:1])])
        here, order = (self.centres * strides).sum(1).sort()
        inside = ((centres >= 0) & (centres < edges)).all(1)
        wanted = (centres * strides).sum(1)
        position = torch.searchsorted(here, wanted).clamp(max=len(here) - 1)
        found = inside & (here[position] == wanted)
        return found, order[position[found]]
