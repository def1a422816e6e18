"""Index sets: where a pass of cross-approximation stands, and how one is started."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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
    """

    sets: tuple[Tensor, ...]
    side: str

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

    def __getitem__(self, index: slice | Sequence[int]) -> CrossIndices:
        """The indices of a part of the batch."""
        return CrossIndices(tuple(table[index] for table in self.sets), self.side)

    @staticmethod
    def cat(parts: Sequence[CrossIndices]) -> CrossIndices:
        """The indices of several batches as those of one; all must have the same side."""
        if len({part.side for part in parts}) > 1:
            raise ValueError("index sets of left and right passes cannot share a batch")
        return CrossIndices(tuple(torch.cat(tables) for tables in zip(*(p.sets for p in parts), strict=True)), parts[0].side)

    def to(self, *args: object, **kwargs: object) -> CrossIndices:
        """Another device or integer dtype, as ``torch.Tensor.to``."""
        return CrossIndices(tuple(table.to(*args, **kwargs) for table in self.sets), self.side)

    def state_dict(self) -> dict[str, object]:
        """Plain tensors and a string, for ``torch.save``."""
        return {"sets": list(self.sets), "side": self.side}

    @classmethod
    def from_state_dict(cls, state: Mapping[str, object]) -> CrossIndices:
        """The inverse of :meth:`state_dict`."""
        return cls(tuple(state["sets"]), str(state["side"]))  # type: ignore[arg-type]


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

    Raises:
        ValueError: if the parts fixed for a mode are not among the tails of the next: tables of other modes.
    """
    flat = [flat_index(modes, table) for table in fixed]
    orders, nested = [], []
    for k in range(1, len(modes)):
        tails = (flat_index(modes, modes[k].offsets)[:, None] + flat[k][:, None]).flatten(1)
        same = tails[:, :, None] == flat[k - 1][:, None]
        parts = flat[k - 1].shape[1]
        nested.append((same.sum(1) == 1).all())
        place = torch.arange(tails.shape[1], device=tails.device) + parts
        orders.append(torch.where(same.any(2), same.int().argmax(2), place).argsort(1))
    if nested and not torch.stack(nested).all():
        k = [bool(good) for good in nested].index(False)
        raise ValueError(f"the index sets of mode {k} are not made of those of mode {k + 1}: other modes? start without indices")
    return orders
