"""How a cross-approximation converges: its error at coordinates that it does not choose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from monai_cpic.tensor_train.field import Field, evaluate
from monai_cpic.tensor_train.modes import Mode, coordinates, flat_index, random_digits
from monai_cpic.tensor_train.sweep import Sweep
from monai_cpic.tensor_train.tensor_train import TensorTrain

__all__ = ["PassRecord", "Watch"]

HELD_OUT = 1000  # random coordinates that estimate the error


@dataclass(frozen=True)
class PassRecord:
    """What one pass did.

    Attributes:
        evaluations: values asked for, for each field; within a pass they are all distinct.
        distinct: distinct values asked for so far, of all passes; the largest of the batch.
        error: estimated relative error ``‖X − TT‖ / ‖X‖`` of each field, from the same random coordinates every pass, ``[B]``.
        condition: for each field the largest condition number of the matrices interpolated from, ``[B]``.
        ranks: bond ranks of the pass's tensor trains.
    """

    evaluations: int
    distinct: int
    error: Tensor
    condition: Tensor
    ranks: tuple[int, ...]


class Watch:
    """Estimates errors on held-out coordinates and reports passes."""

    def __init__(
        self,
        field: Field,
        modes: Sequence[Mode],
        batch_size: int,
        generator: torch.Generator,
        dtype: torch.dtype,
        observer: Callable[[PassRecord], None],
    ) -> None:
        self.modes = modes
        self.observer = observer
        self.digits = random_digits(modes, HELD_OUT, generator)
        with torch.no_grad():
            self.values = evaluate(field, coordinates(modes, self.digits).expand(batch_size, -1, -1), dtype)
        self.seen: Tensor | None = None

    @torch.no_grad()
    def __call__(self, train: TensorTrain, sweep: Sweep, tol: float | None) -> bool:
        """Report a pass; whether its error is below the tolerance for all fields."""
        asked = flat_index(self.modes, torch.cat(sweep.asked, 1))
        self.seen = asked if self.seen is None else torch.cat([self.seen, asked], 1)
        size = self.values.norm(dim=1)
        error = (train.evaluate(self.digits) - self.values).norm(dim=1) / torch.where(size > 0, size, 1.0)
        singular = [torch.linalg.svdvals(pivots) for pivots in sweep.pivots] or [torch.ones_like(size)[:, None]]
        condition = torch.stack([values[:, 0] / values[:, -1] for values in singular]).amax(0)
        distinct = max(len(row.unique()) for row in self.seen)
        self.observer(PassRecord(asked.shape[1], distinct, error, condition, train.ranks))
        return tol is not None and bool((error <= tol).all())
