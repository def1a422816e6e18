"""Cubes that were read before anybody asked for them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Cubes"]


@dataclass(frozen=True, eq=False)
class Cubes:
    """Cubes of a volume by their centres.

    Args:
        centres: int64 ``[M, D]``, each once.
        values: ``[M, C, *size]``.
    """

    centres: Tensor
    values: Tensor

    def find(self, centres: Tensor) -> tuple[Tensor, Tensor]:
        """Which of some centres ``[N, D]`` are here, bool ``[N]``, and the places of those in :attr:`values`.

        Example:
            >>> cubes = Cubes(torch.tensor([[5, 0], [1, 2]]), torch.zeros(2, 1, 3, 3))
            >>> cubes.find(torch.tensor([[1, 2], [1, 3], [9, 9]]))
            (tensor([ True, False, False]), tensor([1]))
        """
        edges = self.centres.amax(0) + 1
        strides = torch.cat([edges.flip(0).cumprod(0).flip(0)[1:], torch.ones_like(edges[:1])])
        here, order = (self.centres * strides).sum(1).sort()
        inside = ((centres >= 0) & (centres < edges)).all(1)
        wanted = (centres * strides).sum(1)
        place = torch.searchsorted(here, wanted).clamp(max=len(here) - 1)
        found = inside & (here[place] == wanted)
        return found, order[place[found]]
