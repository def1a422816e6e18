"""Tensor trains in the buffers of a module, so that they are moved, saved and loaded with a network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from monai_cpic.tensor_train import TensorTrain

__all__ = ["KeptTrains"]


class KeptTrains(nn.Module):
    """Buffers for a fixed number of tensor trains, float64.

    Args:
        count: number of tensor trains.
        mode_sizes: mode sizes of the tensor trains.
        ranks: largest bond ranks, one more than modes.

    Example:
        >>> kept = KeptTrains(2, mode_sizes=[4, 3], ranks=[1, 2, 1])
        >>> kept.keep(TensorTrain([torch.ones(1, 1, 4, 1).double(), torch.ones(1, 1, 3, 1).double()]))
        >>> kept().to_dense().sum((1, 2)).tolist()
        [12.0, 0.0]
    """

    def __init__(self, count: int, mode_sizes: Sequence[int], ranks: Sequence[int]) -> None:
        super().__init__()
        self.cores = len(mode_sizes)
        for k, size in enumerate(mode_sizes):
            self.register_buffer(f"core_{k}", torch.zeros(count, ranks[k], size, ranks[k + 1], dtype=torch.float64))

    def forward(self) -> TensorTrain:
        """All ``count`` tensor trains; those that have not been kept yet are zero."""
        return TensorTrain([self.get_buffer(f"core_{k}") for k in range(self.cores)])

    def keep(self, trains: TensorTrain) -> None:
        """Store tensor trains of these ranks or lower ones in the first positions, and zeros in the others."""
        for k, core in enumerate(trains):
            count, left, _, right = core.shape
            self.get_buffer(f"core_{k}").zero_()[:count, :left, :, :right] = core
