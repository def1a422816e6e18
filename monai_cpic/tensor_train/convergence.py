"""Convergence of a cross-approximation: its error at points that it does not choose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from monai_cpic.tensor_train.field import Field, evaluate
from monai_cpic.tensor_train.modes import Mode, coordinates, flat_index, random_multi_indices
from monai_cpic.tensor_train.sweep import Sweep
from monai_cpic.tensor_train.tensor_train import TensorTrain

__all__ = ["ConvergenceMonitor", "SweepRecord"]

HELD_OUT = 1000  # random points that estimate the error


@dataclass(frozen=True)
class SweepRecord:
    """The result of one sweep, before any completion.

    Attributes:
        evaluations: number of evaluations per field; within a sweep the points are distinct.
        distinct: number of distinct points so far, over all sweeps; the largest number of the batch.
        error: estimated relative error ``‖X − TT‖ / ‖X‖`` of each field, ``[B]``, at the same random points for every sweep.
        condition: for each field, the largest condition number of the matrices that the sweep interpolated from, ``[B]``; at
            most the inverse of the rounding unit.
        ranks: bond ranks of the tensor trains.
    """

    evaluations: int
    distinct: int
    error: Tensor
    condition: Tensor
    ranks: tuple[int, ...]


class ConvergenceMonitor:
    """Estimates the error of each sweep at held-out points and reports it to an observer.

    Args:
        field: see :data:`~monai_cpic.tensor_train.field.Field`.
        modes: the tensorization.
        batch_size: number of fields.
        dtype: of the computation.
        observer: called with the record of each sweep.
    """

    def __init__(
        self,
        field: Field,
        modes: Sequence[Mode],
        batch_size: int,
        dtype: torch.dtype,
        observer: Callable[[SweepRecord], None],
    ) -> None:
        self.modes = modes
        self.observer = observer
        self.digits = random_multi_indices(modes, HELD_OUT, torch.Generator().manual_seed(HELD_OUT))
        with torch.no_grad():
            self.values = evaluate(field, coordinates(modes, self.digits).expand(batch_size, -1, -1), dtype)
        self.seen: Tensor | None = None

    @torch.no_grad()
    def __call__(self, train: TensorTrain, sweep: Sweep, tol: float | None) -> bool:
        """Report a sweep; True if its error is at most ``tol`` for all fields."""
        asked = flat_index(self.modes, torch.cat(sweep.asked, 1))
        self.seen = asked if self.seen is None else torch.cat([self.seen, asked], 1)
        size = self.values.norm(dim=1)
        error = (train.evaluate(self.digits) - self.values).norm(dim=1) / torch.where(size > 0, size, 1.0)
        condition = torch.ones_like(size)
        for pivots in sweep.pivots:
            singular = torch.linalg.svdvals(pivots)
            least = torch.maximum(singular[:, -1], torch.finfo(singular.dtype).eps * singular[:, 0])
            condition = torch.maximum(condition, torch.where(least > 0, singular[:, 0] / least, 1.0))
        distinct = max(len(row.unique()) for row in self.seen)
        self.observer(SweepRecord(asked.shape[1], distinct, error, condition, train.ranks))
        return tol is not None and bool((error <= tol).all())
