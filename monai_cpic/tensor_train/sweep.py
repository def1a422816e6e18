"""One pass of cross-approximation over a batch of fields.

A pass goes through the modes in one direction.  At bond ``k`` it evaluates the field at all combinations of the chosen left
parts, the mode's digits and the fixed right parts, chooses rows of that matrix (:mod:`~monai_cpic.tensor_train.pivots`), and
interpolates the next block from the chosen rows (:mod:`~monai_cpic.tensor_train.interpolation`).  The choice carries no gradient;
the values do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from monai_cpic.tensor_train.field import Field, evaluate
from monai_cpic.tensor_train.indices import CrossIndices, nested_order
from monai_cpic.tensor_train.interpolation import interpolate
from monai_cpic.tensor_train.modes import Mode
from monai_cpic.tensor_train.pivots import select_rows
from monai_cpic.tensor_train.tensor_train import TensorTrain

__all__ = ["Sweep"]


class Sweep:
    """Passes over a field, and what the last one did.

    Args:
        field: see :data:`~monai_cpic.tensor_train.field.Field`.
        modes: the tensorization.
        oversampling: rows per column.
        ridge: of the interpolation.
        tol: relative error for which fewer columns may be kept, or None.
        dtype: of the computation.

    Attributes:
        asked: coordinates ``[B, P, D + 1]`` of each bond of the last pass.
        pivots: the matrices ``[B, s, r]`` that it interpolated from.
    """

    def __init__(
        self, field: Field, modes: Sequence[Mode], oversampling: float, ridge: float, tol: float | None, dtype: torch.dtype
    ) -> None:
        self.field = field
        self.modes = modes
        self.oversampling = oversampling
        self.ridge = ridge
        self.tol = tol
        self.dtype = dtype
        self.asked: list[Tensor] = []
        self.pivots: list[Tensor] = []

    def __call__(self, indices: CrossIndices) -> tuple[TensorTrain, CrossIndices]:
        """One pass towards the fixed side; right to left is left to right on the reversed modes."""
        self.asked, self.pivots = [], []
        if indices.side == "right":
            cores, chosen = self._pass(self.modes, indices.sets)
            return TensorTrain(cores), CrossIndices(tuple(chosen), "left")
        cores, chosen = self._pass(self.modes[::-1], indices.sets[::-1])
        return TensorTrain([core.transpose(1, 3) for core in cores[::-1]]), CrossIndices(tuple(chosen[::-1]), "right")

    def _pass(self, modes: Sequence[Mode], fixed: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Cores ``[B, r_{k-1}, n_k, r_k]`` and, for each mode, the parts ``[B, r_{k-1}, D + 1]`` chosen before it."""
        left = torch.zeros_like(fixed[-1])  # nothing lies before the first mode
        each = torch.arange(len(left), device=left.device)[:, None]
        orders = nested_order(modes, fixed)
        cores: list[Tensor] = []
        chosen = [left]
        pivots = torch.empty(0)
        head = 1  # how many of the left parts are those that the next pass keeps
        for k, mode in enumerate(modes):
            tails = (mode.offsets[:, None] + fixed[k][:, None]).flatten(1, 2)  # [B, n r, D + 1]
            if k == 0:
                values = core = self._evaluate(left, tails)
            else:  # the columns of the pivots come again among the tails
                new = tails.take_along_dim(orders[k - 1][:, pivots.shape[2] :, None], 1)
                values = torch.cat([pivots, self._evaluate(left, new)], 2)
                values = values.take_along_dim(orders[k - 1].argsort(1)[:, None], 2)  # [B, s, n r]
                core = interpolate(pivots, values, self.ridge)
            columns = fixed[k].shape[1]
            cores.append(core.unflatten(2, (len(mode), columns)))
            if k + 1 < len(modes):
                grown = (left[:, :, None] + mode.offsets).flatten(1, 2)  # [B, s n, D + 1]
                matrix = values.unflatten(2, (len(mode), columns)).flatten(1, 2)
                among = head * len(mode)
                head = min(self._rank(matrix.detach()), among)
                count = max(head, min(math.ceil(self.oversampling * columns), grown.shape[1]))
                rows = select_rows(matrix.detach(), count, head, among)
                left, pivots = grown[each, rows], matrix[each, rows]
                self.pivots.append(pivots.detach())
                chosen.append(left[:, :head])
        return cores, chosen

    def _evaluate(self, left: Tensor, tails: Tensor) -> Tensor:
        asked = left[:, :, None] + tails[:, None]
        self.asked.append(asked.flatten(1, 2))
        return evaluate(self.field, asked, self.dtype)

    def _rank(self, matrix: Tensor) -> int:
        """The columns worth keeping: all, or as many as the hardest field of the batch needs for its share of the tolerance."""
        if self.tol is None:
            return matrix.shape[2]
        values = torch.linalg.svdvals(matrix)
        left_out = values.square().flip(1).cumsum(1).flip(1).sqrt()
        share = self.tol / max(len(self.modes) - 1, 1) ** 0.5
        return max(int((left_out > share * left_out[:, :1]).sum(1).max()), 1)
