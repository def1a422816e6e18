"""Index sets: where a pass of cross-approximation stands, and how one is started."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from monai_cpic.tensor_train.modes import Mode, flat_index, mode_sizes
from monai_cpic.tensor_train.tensor_train import bond_ranks

__all__ = ["CrossIndices", "initial_indices"]


@dataclass(frozen=True)
class CrossIndices:
    """The fixed side of the next pass: for every mode, a table of partial coordinates on one side of it.

    The tables are nested: each part is a digit of the neighbouring mode added to a part of that mode's table.  A pass therefore
    meets every value that it has used for one bond again at the next, and evaluates it once.

    Attributes:
        sets: for each mode, int64 ``[B, r, D + 1]``: sums of the offsets of all modes after it or before it, ``r`` being the
            rank of the bond on that side.
        side: ``"right"`` if the parts lie after their mode (the next pass goes left to right), ``"left"`` if before it.
        rows: for each mode, int64 ``[B, s, D + 1]``, the parts on its other side that the next pass uses instead of choosing: it
            asks for the coordinates of an earlier pass again.  None: it chooses.
    """

    sets: tuple[Tensor, ...]
    side: str
    rows: tuple[Tensor, ...] | None = None

    def __post_init__(self) -> None:
        if self.side not in ("left", "right"):
            raise ValueError(f'the side must be "left" or "right", got {self.side!r}')

    @property
    def batch_size(self) -> int:
        """Number of fields."""
        return len(self.sets[0])

    @property
    def ranks(self) -> list[int]:
        """Bond ranks ``[r_0, …, r_D]``, as far as the tables tell them; the outer bonds have rank 1."""
        ranks = [table.shape[1] for table in self.sets]
        return [1, *ranks] if self.side == "right" else [*ranks, 1]

    def coordinates(self, modes: Sequence[Mode]) -> Tensor:
        """All coordinates that the next pass will ask for, each once, int64 ``[B, P, D + 1]``.

        Raises:
            ValueError: if it will choose them on the way.
        """
        if self.rows is None:
            raise ValueError("the next pass chooses its rows; only a pass that repeats an earlier one is known before")
        modes, sets, rows = list(modes), list(self.sets), list(self.rows)
        if self.side == "left":
            modes, sets, rows = modes[::-1], sets[::-1], rows[::-1]
        orders = nested_order(modes, sets)
        asked = []
        for k, mode in enumerate(modes):
            tails = (mode.offsets[:, None] + sets[k][:, None]).flatten(1, 2)
            new = tails if k == 0 else tails.take_along_dim(orders[k - 1][:, sets[k - 1].shape[1] :, None], 1)
            asked.append((rows[k][:, :, None] + new[:, None]).flatten(1, 2))
        return torch.cat(asked, 1)

    def __getitem__(self, index: slice | Sequence[int]) -> CrossIndices:
        """The indices of a part of the batch."""
        return self._map(lambda table: table[index])

    @staticmethod
    def cat(parts: Sequence[CrossIndices]) -> CrossIndices:
        """The indices of several batches as those of one; all must have the same side, and rows or none."""
        if len({(part.side, part.rows is None) for part in parts}) > 1:
            raise ValueError("index sets of left and right passes, or of choosing and repeating ones, cannot share a batch")
        rows = None if parts[0].rows is None else _cat([part.rows or () for part in parts])
        return CrossIndices(_cat([part.sets for part in parts]), parts[0].side, rows)

    def to(self, *args: object, **kwargs: object) -> CrossIndices:
        """Another device or integer dtype, as ``torch.Tensor.to``."""
        return self._map(lambda table: table.to(*args, **kwargs))

    def clone(self) -> CrossIndices:
        """A copy of the tables."""
        return self._map(Tensor.clone)

    def state_dict(self) -> dict[str, object]:
        """Plain tensors and a string, for ``torch.save``."""
        return {"sets": list(self.sets), "side": self.side, "rows": None if self.rows is None else list(self.rows)}

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> CrossIndices:
        """The inverse of :meth:`state_dict`."""
        return cls(tuple(state["sets"]), state["side"], None if state["rows"] is None else tuple(state["rows"]))

    def _map(self, function: Callable[[Tensor], Tensor]) -> CrossIndices:
        rows = None if self.rows is None else tuple(function(table) for table in self.rows)
        return CrossIndices(tuple(function(table) for table in self.sets), self.side, rows)


def _cat(tables: Sequence[Sequence[Tensor]]) -> tuple[Tensor, ...]:
    return tuple(torch.cat(parts) for parts in zip(*tables, strict=True))


def initial_indices(
    modes: Sequence[Mode], rank: int, *, batch_size: int = 1, generator: torch.Generator | None = None
) -> CrossIndices:
    """Random nested right index sets, the same for every field of the batch.

    Args:
        modes: the tensorization.
        rank: bond rank, lower where the modes to one side have fewer entries.
        batch_size: number of fields.
        generator: default: a fresh one with seed 0.
    """
    generator = generator or torch.Generator().manual_seed(0)
    ranks = bond_ranks(mode_sizes(modes), rank)
    table = torch.zeros(1, modes[0].offsets.shape[1], dtype=torch.int64)
    sets = [table]
    for k in range(len(modes) - 1, 0, -1):
        pool = (modes[k].offsets.cpu()[:, None] + table[None]).flatten(0, 1)
        table = pool[torch.randperm(len(pool), generator=generator)[: ranks[k]]]
        sets.append(table)
    device = modes[0].offsets.device
    return CrossIndices(tuple(t.to(device).expand(batch_size, -1, -1) for t in reversed(sets)), "right")


def nested_order(modes: Sequence[Mode], fixed: Sequence[Tensor]) -> list[Tensor]:
    """For every mode but the first, its tails in an order that begins with the parts fixed for the mode before it.

    A tail is a digit of a mode added to one of its fixed parts; ``n · r`` of them, digits slowest.

    Args:
        modes: in the order of the pass.
        fixed: for each mode, int64 ``[B, r, D + 1]``.

    Returns:
        permutations int64 ``[B, n · r]``.
    """
    orders = []
    for k in range(1, len(modes)):
        tails = (modes[k].offsets[:, None] + fixed[k][:, None]).flatten(1, 2)
        first = positions(modes, fixed[k - 1], tails)
        order = torch.arange(tails.shape[1], device=tails.device) + first.shape[1]
        order = order.expand(len(first), -1).scatter(1, first, torch.arange(first.shape[1], device=first.device).expand_as(first))
        orders.append(order.argsort(1))
    return orders


def check_nested(modes: Sequence[Mode], indices: CrossIndices) -> None:
    """Raise if index sets are not made of the digits of these modes.

    Raises:
        ValueError: if the outermost parts are not 0, or the parts of a mode are not made of those of its neighbour.
    """
    outward = 1 if indices.side == "right" else -1
    for tables, direction in ((indices.sets, outward), (indices.rows, -outward)):
        if tables is None:
            continue
        along, ordered = list(modes)[::direction], list(tables)[::direction]
        good = not ordered[-1].any()
        for k in range(1, len(along)):
            grown = (along[k].offsets[:, None] + ordered[k][:, None]).flatten(1, 2)
            found = grown.take_along_dim(positions(modes, ordered[k - 1], grown)[:, :, None], 1)
            good = good and bool((found == ordered[k - 1]).all())
        if not good:
            raise ValueError("the index sets of a mode are not made of those of the next: other modes? start without indices")


def positions(modes: Sequence[Mode], parts: Tensor, candidates: Tensor) -> Tensor:
    """Where parts are among candidates, int64 ``[B, r]``.

    Args:
        modes: the tensorization.
        parts: ``[B, r, D + 1]``.
        candidates: ``[B, m, D + 1]``.

    Returns:
        for a part that is not there, 0.
    """
    same = flat_index(modes, parts)[:, :, None] == flat_index(modes, candidates)[:, None]
    return same.int().argmax(2)
