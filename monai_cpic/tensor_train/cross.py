"""Cross-approximation: a tensor train from the few entries of a field that the method itself asks for.

A pass goes through the modes in one direction.  At bond ``k`` it evaluates the field at all combinations of the chosen left
parts, the mode's digits and the fixed right parts, chooses rows of that matrix (:mod:`~monai_cpic.tensor_train.pivots`), and
interpolates the next block from the chosen rows.  The rows chosen by one pass are the columns of the next, which goes the other
way (Oseledets and Tyrtyshnikov 2010; paper, section 3.2).  Choosing more rows than columns turns interpolation into least
squares, which keeps what a square cross loses on fields that are not exactly of low rank.  The choice carries no gradient; the
values do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from monai_cpic.tensor_train.modes import Mode, mode_sizes
from monai_cpic.tensor_train.pivots import select_rows
from monai_cpic.tensor_train.tensor_train import TensorTrain, bond_ranks

__all__ = ["CrossIndices", "Field", "cross_approximate", "initial_indices", "interpolate"]

Field = Callable[[Tensor], Tensor]
"""Values ``[B, P]`` of ``B`` fields at coordinates int64 ``[B, P, D + 1]`` (the last column is the channel)."""


@dataclass(frozen=True)
class CrossIndices:
    """The fixed side of the next pass: for every mode, a table of partial coordinates on one side of it.

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


def cross_approximate(
    field: Field,
    modes: Sequence[Mode],
    rank: int,
    *,
    batch_size: int = 1,
    oversampling: float = 1.5,
    passes: int = 4,
    indices: CrossIndices | None = None,
    ridge: float = 1e-2,
    generator: torch.Generator | None = None,
) -> tuple[TensorTrain, CrossIndices]:
    """Tensor trains of ``batch_size`` fields, differentiable through the values of the last pass.

    Args:
        field: values ``[B, P]`` at coordinates ``[B, P, D + 1]``; differentiable in whatever it depends on.
        modes: the tensorization of the grid (:func:`~monai_cpic.tensor_train.modes.qtt_modes`).
        rank: bond rank, lower where the modes to one side have fewer entries.
        batch_size: number ``B`` of fields.
        oversampling: rows per bond are ``⌈oversampling · rank⌉``; 1 is the plain cross of the paper.
        passes: passes of alternating direction; all but the last are evaluated without gradient.
        indices: index sets of an earlier call (a warm start; one pass is then a training step); else random ones, the same for
            all fields of the batch.
        ridge: regularisation of the interpolation relative to the largest pivot value (:func:`interpolate`).
        generator: random numbers of the first index sets; default: a fresh one with seed 0, so that calls repeat.

    Returns:
        the float64 tensor trains and the index sets for the next call.

    Raises:
        ValueError: if a parameter is out of range, the index sets belong to other modes, or the field returns a wrong shape.
        FloatingPointError: if the field returns NaN or infinite values.

    Example:
        >>> from monai_cpic.tensor_train import qtt_modes
        >>> field = lambda c: torch.sin(0.1 * c[..., 0]) + 0.01 * c[..., 1]
        >>> tt, indices = cross_approximate(field, qtt_modes((64, 64)), rank=4)
        >>> tt.shape == (2,) * 12
        True
    """
    if rank < 1 or oversampling < 1 or passes < 1 or batch_size < 1 or not modes or ridge <= 0:
        raise ValueError(
            "rank, oversampling, passes, batch_size and the number of modes must be at least 1 and ridge positive, got "
            f"rank={rank}, oversampling={oversampling}, passes={passes}, batch_size={batch_size}, "
            f"{len(modes)} modes, ridge={ridge}"
        )
    ranks = bond_ranks(mode_sizes(modes), rank)
    if indices is None:
        indices = initial_indices(modes, rank, batch_size=batch_size, generator=generator)
    expected = [(batch_size, r) for r in (ranks[1:] if indices.side == "right" else ranks[:-1])]
    if [tuple(table.shape[:2]) for table in indices.sets] != expected:
        raise ValueError(
            f"the index sets have sizes {[tuple(t.shape[:2]) for t in indices.sets]}, these modes, rank and batch need "
            f"{expected}; start without indices"
        )
    with torch.no_grad():
        for _ in range(passes - 1):
            _, indices = _alternate(field, modes, ranks, indices, oversampling, ridge)
    return _alternate(field, modes, ranks, indices, oversampling, ridge)


def initial_indices(
    modes: Sequence[Mode], rank: int, *, batch_size: int = 1, generator: torch.Generator | None = None
) -> CrossIndices:
    """Random nested right index sets, the same for every field of the batch.

    The set right of a mode is drawn without repetition from the combinations of the next mode's digits and the set right of that.
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


def interpolate(pivots: Tensor, values: Tensor, ridge: float) -> Tensor:
    """Ridge least squares ``argmin_X ‖P X − V‖² + λ²‖X‖²`` with ``λ = ridge · max|P|`` for each field.

    Solved by QR of the stacked matrix ``[P; λ I]``, which always has full column rank: gradients stay bounded by ``1 / (2 λ)``
    whatever the rank of ``P``.  A block of zeros gives zeros.

    Args:
        pivots: ``[B, s, r]``.
        values: ``[B, s, m]``.
        ridge: relative regularisation.

    Returns:
        ``[B, r, m]``.
    """
    rows, columns = pivots.shape[1:]
    largest = pivots.abs().amax((1, 2))
    damping = torch.where(largest > 0, ridge * largest, 1.0)
    eye = torch.eye(columns, dtype=pivots.dtype, device=pivots.device)
    q, upper = torch.linalg.qr(torch.cat([pivots, damping[:, None, None] * eye], 1))
    return torch.linalg.solve_triangular(upper, q[:, :rows].mT @ values, upper=True)


def _alternate(
    field: Field, modes: Sequence[Mode], ranks: Sequence[int], indices: CrossIndices, oversampling: float, ridge: float
) -> tuple[TensorTrain, CrossIndices]:
    """One pass towards the fixed side; right to left is left to right on the reversed modes."""
    if indices.side == "right":
        cores, chosen = _pass(field, modes, ranks, indices.sets, oversampling, ridge)
        return TensorTrain(cores), CrossIndices(tuple(chosen), "left")
    cores, chosen = _pass(field, modes[::-1], ranks[::-1], indices.sets[::-1], oversampling, ridge)
    return TensorTrain([core.transpose(1, 3) for core in cores[::-1]]), CrossIndices(tuple(chosen[::-1]), "right")


def _pass(
    field: Field,
    modes: Sequence[Mode],
    ranks: Sequence[int],
    fixed: Sequence[Tensor],
    oversampling: float,
    ridge: float,
) -> tuple[list[Tensor], list[Tensor]]:
    """Cores ``[B, r_{k-1}, n_k, r_k]`` and, for each mode, the parts ``[B, r_{k-1}, D + 1]`` chosen before it."""
    left = torch.zeros_like(fixed[-1])  # nothing lies before the first mode
    each = torch.arange(len(left), device=left.device)[:, None]
    cores: list[Tensor] = []
    chosen = [left]
    pivots: Tensor | None = None
    for k, mode in enumerate(modes):
        grown = (left[:, :, None] + mode.offsets).flatten(1, 2)  # [B, s n, D + 1]
        values = _evaluate(field, grown[:, :, None] + fixed[k][:, None])  # [B, s n, r]
        core = values
        if pivots is not None:
            core = interpolate(pivots, values.reshape(len(left), left.shape[1], -1), ridge)
        cores.append(core.reshape(len(left), ranks[k], len(mode), ranks[k + 1]))
        if k + 1 < len(modes):
            count = min(math.ceil(oversampling * ranks[k + 1]), grown.shape[1])
            rows = select_rows(values, count)
            left, pivots = grown[each, rows], values[each, rows]
            chosen.append(left[:, : ranks[k + 1]])
    return cores, chosen


def _evaluate(field: Field, coordinates: Tensor) -> Tensor:
    """Values ``[B, m, r]`` of the field at ``[B, m, r, D + 1]``, in float64."""
    batch, rows, columns, _ = coordinates.shape
    coordinates = coordinates.flatten(1, 2)
    values = field(coordinates)
    if tuple(values.shape) != (batch, rows * columns):
        raise ValueError(f"the field must return values [{batch}, {rows * columns}], got {tuple(values.shape)}")
    finite = values.detach().isfinite()
    if not finite.all():
        item, point = (~finite).nonzero()[0].tolist()
        raise FloatingPointError(
            f"the field returned {values[item, point].item()} for item {item} of the batch at coordinate "
            f"{coordinates[item, point].tolist()} (the last number is the channel); its values must be finite"
        )
    return values.double().reshape(batch, rows, columns)
