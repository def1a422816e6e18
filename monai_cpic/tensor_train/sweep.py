"""A sweep of cross-approximation over a batch of fields.

A sweep goes through the modes in one direction, here left to right.  At each mode it evaluates the field at all combinations of
the chosen left indices, the digits of the mode and the given right indices.  It chooses rows of that matrix, which become the
left indices of the next mode (:mod:`~monai_cpic.tensor_train.pivots`), and interpolates the core from the rows chosen before
(:mod:`~monai_cpic.tensor_train.interpolation`).  The choice carries no gradient; the values do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from monai_cpic.tensor_train.field import Field, evaluate
from monai_cpic.tensor_train.indices import CrossIndices, nested_order, positions
from monai_cpic.tensor_train.interpolation import interpolate
from monai_cpic.tensor_train.modes import Mode
from monai_cpic.tensor_train.pivots import select_rows
from monai_cpic.tensor_train.tensor_train import TensorTrain

__all__ = ["Sweep"]

MARGIN = 3  # safety factor: the truncation at one bond must not dominate the error of the whole


class Sweep:
    """Sweeps over a field; each call is one sweep, whose details are kept until the next.

    Args:
        field: see :data:`~monai_cpic.tensor_train.field.Field`.
        modes: the tensorization.
        oversampling: rows chosen per column of the matrix.
        ridge: regularisation of the interpolation.
        tol: relative error up to which the ranks may be lowered; None keeps them.
        dtype: of the computation.

    Attributes:
        asked: for each mode, the points ``[B, P, D + 1]`` at which the last sweep evaluated the field.
        pivots: the matrices ``[B, s, r]`` that it interpolated from.
        repeat: the index sets with which a sweep repeats it at the same points.
    """

    def __init__(
        self,
        field: Field,
        modes: Sequence[Mode],
        oversampling: float = 1.5,
        ridge: float = 1e-6,
        tol: float | None = None,
        dtype: torch.dtype = torch.float64,
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
        """Sweep towards the side of the given index sets.

        Returns:
            the tensor trains, and the index sets of the other side for the next sweep.
        """
        self.asked, self.pivots = [], []
        if indices.side == "right":
            cores, chosen, rows = self._left_to_right(self.modes, indices.sets, indices.rows)
            self.repeat = CrossIndices(indices.sets, "right", tuple(rows))
            return TensorTrain(cores), CrossIndices(tuple(chosen), "left")
        given = None if indices.rows is None else indices.rows[::-1]  # right to left: the same on the reversed modes
        cores, chosen, rows = self._left_to_right(self.modes[::-1], indices.sets[::-1], given)
        self.repeat = CrossIndices(indices.sets, "left", tuple(rows[::-1]))
        return TensorTrain([core.transpose(1, 3) for core in cores[::-1]]), CrossIndices(tuple(chosen[::-1]), "right")

    def _left_to_right(
        self, modes: Sequence[Mode], fixed: Sequence[Tensor], given: Sequence[Tensor] | None
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Sweep left to right.

        Args:
            modes: in the order of the sweep.
            fixed: for each mode, its right indices ``[B, r_k, D + 1]``.
            given: for each mode, the left indices to use instead of choosing them.

        Returns:
            cores ``[B, r_{k-1}, n_k, r_k]``; for each mode, the left indices ``[B, r_{k-1}, D + 1]`` that are the pivots; and all
            left indices that were used, ``[B, s, D + 1]``.
        """
        left = torch.zeros_like(fixed[-1])  # the empty index: no mode lies before the first
        each = torch.arange(len(left), device=left.device)[:, None]
        orders = nested_order(modes, fixed)
        cores: list[Tensor] = []
        chosen, used = [left], [left]
        pivots = left.new_empty(0)  # of the bond before
        head = 1  # how many of the left indices are pivots; they come first
        for k, mode in enumerate(modes):
            columns = (mode.offsets[:, None] + fixed[k][:, None]).flatten(1, 2)  # [B, n r, D + 1]
            if k == 0:
                values = core = self._evaluate(left, columns)
            else:  # the columns of the pivots are among these columns: their values are known
                new = columns.take_along_dim(orders[k - 1][:, pivots.shape[2] :, None], 1)
                values = torch.cat([pivots, self._evaluate(left, new)], 2)
                values = values.take_along_dim(orders[k - 1].argsort(1)[:, None], 2)  # [B, s, n r]
                core = interpolate(pivots, values, self.ridge)
            rank = fixed[k].shape[1]
            cores.append(core.unflatten(2, (len(mode), rank)))
            if k + 1 < len(modes):
                candidates = (left[:, :, None] + mode.offsets).flatten(1, 2)  # [B, s n, D + 1]
                matrix = values.unflatten(2, (len(mode), rank)).flatten(1, 2)
                among = head * len(mode)
                head = min(self._rank(matrix.detach()), among)
                count = max(head, min(math.ceil(self.oversampling * rank), candidates.shape[1]))
                if given is None:
                    rows = select_rows(matrix.detach(), count, head, among)
                else:
                    rows = positions(modes, given[k + 1], candidates)
                left, pivots = candidates[each, rows], matrix[each, rows]
                self.pivots.append(pivots.detach())
                chosen.append(left[:, :head])
                used.append(left)
        return cores, chosen, used

    def _evaluate(self, left: Tensor, columns: Tensor) -> Tensor:
        asked = left[:, :, None] + columns[:, None]
        self.asked.append(asked.flatten(1, 2))
        return evaluate(self.field, asked, self.dtype)

    def _rank(self, matrix: Tensor) -> int:
        """The rank to keep: all columns, or as many as the most demanding field of the batch needs for the tolerance."""
        if self.tol is None:
            return matrix.shape[2]
        values = torch.linalg.svdvals(matrix)
        truncated = values.square().flip(1).cumsum(1).flip(1).sqrt()  # the error if this value and all smaller ones are dropped
        share = self.tol / MARGIN / max(len(self.modes) - 1, 1) ** 0.5  # of one bond
        return max(int((truncated > share * truncated[:, :1]).sum(1).max()), 1)
