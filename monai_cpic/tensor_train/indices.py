"""Index sets of cross-approximation: nested sets of partial multi-indices to the left or to the right of each mode.

A left (right) index of a mode has one digit for each mode before (after) it.  It is stored as a partial coordinate: the sum of
the offsets of its digits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from monai_cpic.devices import ensure, move
from monai_cpic.tensor_train.modes import Mode, flat_index, mode_sizes, multi_indices
from monai_cpic.tensor_train.tensor_train import bond_ranks

__all__ = ["CrossIndices", "initial_indices"]


@dataclass(frozen=True)
class CrossIndices:
    """The index sets that the next sweep starts from: for every mode, its right indices, or its left ones.

    The sets are nested: each index of a mode is a digit of the neighbouring mode and an index of that mode's set.  The values at
    one bond therefore occur again at the next, and a sweep evaluates them once.

    Attributes:
        sets: for each mode, int64 ``[B, r, D + 1]``, where ``r`` is the rank of the bond on that side.
        side: ``"right"`` for right indices (the next sweep goes left to right), ``"left"`` for left indices.
        rows: for each mode, int64 ``[B, s, D + 1]``, the indices on its other side, with which the next sweep repeats an earlier
            one at the same points.  None: the sweep chooses them.
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
        """The sizes of the sets in the order of the bonds ``0 … D``; the outer bonds have rank 1."""
        ranks = [table.shape[1] for table in self.sets]
        return [1, *ranks] if self.side == "right" else [*ranks, 1]

    def coordinates(self, modes: Sequence[Mode]) -> Tensor:
        """The points at which the next sweep evaluates the field, each once, int64 ``[B, P, D + 1]``.

        Raises:
            ValueError: if the sweep chooses them on its way.
        """
        if self.rows is None:
            raise ValueError("the next sweep chooses its rows; only the points of a sweep that repeats an earlier one are known")
        modes, sets, rows = list(modes), list(self.sets), list(self.rows)
        if self.side == "left":
            modes, sets, rows = modes[::-1], sets[::-1], rows[::-1]
        orders = nested_order(modes, sets)
        asked = []
        for k, mode in enumerate(modes):
            columns = (mode.offsets[:, None] + sets[k][:, None]).flatten(1, 2)
            new = columns if k == 0 else columns.take_along_dim(orders[k - 1][:, sets[k - 1].shape[1] :, None], 1)
            asked.append((rows[k][:, :, None] + new[:, None]).flatten(1, 2))
        return torch.cat(asked, 1)

    def __getitem__(self, index: slice | Sequence[int]) -> CrossIndices:
        """The index sets of some fields of the batch."""
        return self._map(lambda table: table[index])

    @staticmethod
    def cat(parts: Sequence[CrossIndices]) -> CrossIndices:
        """Concatenate the index sets of several batches.

        Raises:
            ValueError: if they differ in their side, or some have rows and others do not.
        """
        if len({(part.side, part.rows is None) for part in parts}) > 1:
            raise ValueError("left and right index sets, or sets with rows and without, cannot share a batch")
        rows = None if parts[0].rows is None else _cat([part.rows or () for part in parts])
        return CrossIndices(_cat([part.sets for part in parts]), parts[0].side, rows)

    def to(self, *args: Any, **kwargs: Any) -> CrossIndices:
        """Convert to another device or integer dtype; the arguments are those of ``torch.Tensor.to``."""
        return self._map(lambda table: table.to(*args, **kwargs))

    def clone(self) -> CrossIndices:
        """A copy of all tables."""
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
    modes: Sequence[Mode],
    rank: int,
    *,
    seeds: Tensor | None = None,
    batch_size: int = 1,
    generator: torch.Generator | None = None,
) -> CrossIndices:
    """Nested right index sets to start a first sweep from: those of seeds, completed by random ones.

    A seed is a grid point near which a field is worth asking.  From the last mode to the first its partial coordinate enters the
    set of a bond if the shorter one has entered that of the bond before, as far as the rank allows, the first seeds first.  Where
    seeds agree in a partial coordinate they share a place.

    Args:
        modes: the tensorization.
        rank: bond rank, lower where the modes on one side of a bond have fewer entries.
        seeds: grid points in the order of their priority, int64 ``[B, S, D + 1]``, the channel last.  Of more than the rank holds
            the first are kept.
        batch_size: number of fields; with seeds it is theirs.
        generator: of the random completion, which is the same for every field of the batch; default: a fresh one with seed 0.

    Raises:
        ValueError: if a seed lies outside the grid, or the seeds have other axes than the modes.

    Example:
        >>> from monai_cpic.tensor_train import qtt_modes
        >>> indices = initial_indices(qtt_modes((8, 8)), rank=2, seeds=torch.tensor([[[5, 3, 0], [5, 2, 0]]]))
        >>> indices.sets[2].tolist()  # after the bits of the first axis
        [[[0, 3, 0], [0, 2, 0]]]
    """
    generator = generator or torch.Generator().manual_seed(0)
    ranks = bond_ranks(mode_sizes(modes), rank)
    device = modes[0].offsets.device
    if seeds is None:
        seeds = torch.empty(1, 0, modes[0].offsets.shape[1], dtype=torch.int64, device=device)
    elif seeds.ndim != 3:
        raise ValueError(f"seeds must be [B, S, D + 1], got {tuple(seeds.shape)}")
    else:
        batch_size = len(seeds)
    seeds = move(seeds, device)
    wanted = multi_indices(modes, seeds)  # [B, S, D']
    place = torch.zeros(seeds.shape[:2], dtype=torch.int64, device=device)  # of each seed in the present table
    priority = torch.arange(seeds.shape[1], 0, -1, device=device).expand(seeds.shape[:2])  # 0 or less: the seed has been left out
    table = torch.zeros(len(seeds), 1, seeds.shape[2], dtype=torch.int64, device=device)
    sets = [table]
    for k in range(len(modes) - 1, 0, -1):
        pool = (modes[k].offsets[:, None] + table[:, None]).flatten(1, 2)  # [B, n r, D + 1]
        place = wanted[..., k] * table.shape[1] + place
        random = -move(torch.randperm(pool.shape[1], generator=generator, device=generator.device).argsort(), device)
        score = random.expand(len(seeds), -1).scatter_reduce(1, place, priority, "amax")
        chosen = score.argsort(1, descending=True)[:, : ranks[k]]
        position = torch.full_like(score, -1).scatter(1, chosen, torch.arange(chosen.shape[1], device=device).expand_as(chosen))
        place = position.gather(1, place)
        priority = priority.where(place >= 0, -pool.shape[1])
        place = place.clamp(min=0)
        table = pool.take_along_dim(chosen[..., None], 1)
        sets.append(table)
    return CrossIndices(tuple(t.expand(batch_size, -1, -1) for t in reversed(sets)), "right")


def nested_order(modes: Sequence[Mode], fixed: Sequence[Tensor]) -> list[Tensor]:
    """For every mode but the first, its columns in an order that begins with the right indices of the mode before it.

    A column of a mode is one of its ``n`` digits and one of its ``r`` right indices: ``n · r`` columns, the digit slowest.

    Args:
        modes: in the order of the sweep.
        fixed: for each mode, its right indices, int64 ``[B, r, D + 1]``.

    Returns:
        permutations, int64 ``[B, n · r]``.
    """
    orders = []
    for k in range(1, len(modes)):
        columns = (modes[k].offsets[:, None] + fixed[k][:, None]).flatten(1, 2)
        first = positions(modes, fixed[k - 1], columns)
        order = torch.arange(columns.shape[1], device=columns.device) + first.shape[1]
        order = order.expand(len(first), -1).scatter(1, first, torch.arange(first.shape[1], device=first.device).expand_as(first))
        orders.append(order.argsort(1))
    return orders


def check_nested(modes: Sequence[Mode], indices: CrossIndices) -> None:
    """Check that index sets are nested and made of the digits of these modes.

    Raises:
        ValueError: if the outermost index is not empty (0), or an index of a mode does not extend one of its neighbour.
    """
    outward = 1 if indices.side == "right" else -1
    for tables, direction in ((indices.sets, outward), (indices.rows, -outward)):
        if tables is None:
            continue
        along, ordered = list(modes)[::direction], list(tables)[::direction]
        good = [(ordered[-1] == 0).all()]
        for k in range(1, len(along)):
            grown = (along[k].offsets[:, None] + ordered[k][:, None]).flatten(1, 2)
            found = grown.take_along_dim(positions(modes, ordered[k - 1], grown)[:, :, None], 1)
            good.append((found == ordered[k - 1]).all())
        ensure(
            torch.stack(good),
            lambda: ValueError(
                "the index sets are not nested: those of a mode do not extend those of the next; if they belong to other modes, "
                "start without indices"
            ),
        )


def positions(modes: Sequence[Mode], wanted: Tensor, candidates: Tensor) -> Tensor:
    """Positions of partial coordinates among candidates.

    Args:
        modes: the tensorization.
        wanted: ``[B, r, D + 1]``.
        candidates: ``[B, m, D + 1]``.

    Returns:
        int64 ``[B, r]``; 0 for one that is not among the candidates.
    """
    same = flat_index(modes, wanted)[:, :, None] == flat_index(modes, candidates)[:, None]
    return same.int().argmax(2)
