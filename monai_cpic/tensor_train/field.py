"""Fields: what cross-approximation asks for values, and a memory of the values that were given."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from monai_cpic.tensor_train.modes import Mode, flat_index

__all__ = ["Field", "Memory", "evaluate", "remembering"]

Field = Callable[[Tensor], Tensor]
"""Values ``[B, P]`` of ``B`` fields at coordinates int64 ``[B, P, D + 1]`` (the last column is the channel)."""


def evaluate(field: Field, coordinates: Tensor, dtype: torch.dtype = torch.float64) -> Tensor:
    """Values of a field, checked.

    Args:
        field: see :data:`Field`.
        coordinates: int64 ``[B, *P, D + 1]``.
        dtype: of the result.

    Returns:
        ``[B, *P]``.

    Raises:
        TypeError: if the field does not return a floating-point tensor.
        ValueError: if it returns another shape, or a tensor on another device than the coordinates.
        FloatingPointError: if a value is NaN or infinite.
    """
    batch, *points, axes = coordinates.shape
    asked = coordinates.reshape(batch, -1, axes)
    if not asked.shape[1]:
        return torch.zeros(batch, *points, dtype=dtype, device=coordinates.device)
    values = field(asked)
    if not isinstance(values, Tensor) or not values.is_floating_point():
        kind = values.dtype if isinstance(values, Tensor) else type(values).__name__
        raise TypeError(f"the field must return a floating-point tensor, got {kind}")
    if tuple(values.shape) != tuple(asked.shape[:2]):
        raise ValueError(f"the field must return values {list(asked.shape[:2])}, got {list(values.shape)}")
    if values.device != coordinates.device:
        raise ValueError(f"the field returned values on {values.device}, its coordinates are on {coordinates.device}")
    finite = values.detach().isfinite()
    if not finite.all():
        item, point = (~finite).nonzero()[0].tolist()
        raise FloatingPointError(
            f"the field returned {values[item, point].item()} for item {item} of the batch at coordinate "
            f"{asked[item, point].tolist()} (the last number is the channel); its values must be finite"
        )
    return values.to(dtype).reshape(batch, *points)


class Memory:
    """Rows of values by integer keys: each is computed once, with its graph if there is one.

    Example:
        >>> memory, asked = Memory(), []
        >>> square = lambda keys: asked.append(keys.tolist()) or keys.double() ** 2
        >>> memory.look_up(torch.tensor([3, 1, 3]), square).tolist()
        [9.0, 1.0, 9.0]
        >>> memory.look_up(torch.tensor([[1, 2]]), square).tolist(), asked
        ([[1.0, 4.0]], [[1, 3], [2]])
    """

    def __init__(self) -> None:
        self.keys = torch.empty(0, dtype=torch.int64)  # seen, sorted
        self._slots = torch.empty(0, dtype=torch.int64)  # their rows in the table
        self._rows: Tensor | None = None

    def look_up(self, keys: Tensor, compute: Callable[[Tensor], Tensor]) -> Tensor:
        """Rows of keys.

        Args:
            keys: int64, any shape.
            compute: rows ``[N, …]`` of new keys ``[N]``, which come sorted and without repetition.

        Returns:
            ``[*keys.shape, …]``.
        """
        distinct, inverse = torch.unique(keys, return_inverse=True)
        self.keys, self._slots = self.keys.to(keys.device), self._slots.to(keys.device)
        place = torch.searchsorted(self.keys, distinct)
        known = torch.zeros_like(distinct, dtype=torch.bool)
        inside = place < len(self.keys)
        known[inside] = self.keys[place[inside]] == distinct[inside]
        new = distinct[~known]
        if len(new):
            rows = compute(new)
            self._rows = rows if self._rows is None else torch.cat([self._rows, rows])
            slots = torch.arange(len(self._slots), len(self._slots) + len(new), device=keys.device)
            self.keys, order = torch.cat([self.keys, new]).sort()
            self._slots = torch.cat([self._slots, slots])[order]
        assert self._rows is not None
        return self._rows[self._slots[torch.searchsorted(self.keys, distinct)][inverse]]


def remembering(field: Field, modes: Sequence[Mode]) -> Field:
    """A field that keeps the values it has given, for phases without gradient in which it does not change."""
    memory = Memory()
    size = 1
    for mode in modes:
        size *= len(mode)

    def remembered(coordinates: Tensor) -> Tensor:
        batch, axes = len(coordinates), coordinates.shape[2]
        flat = flat_index(modes, coordinates)
        keys = flat + size * torch.arange(batch, device=flat.device)[:, None]

        def compute(new: Tensor) -> Tensor:
            # Items of the batch need different numbers of new values: the shorter lists are filled up with a repeated point.
            item = new // size
            place = torch.arange(len(new), device=new.device) - torch.searchsorted(item, item)
            first = torch.searchsorted(keys.flatten().sort().values, new)
            where = keys.flatten().argsort()[first]
            asked = coordinates[:, :1].repeat(1, int(place.max()) + 1, 1)
            asked[item, place] = coordinates.reshape(-1, axes)[where]
            return evaluate(field, asked)[item, place]

        return memory.look_up(keys, compute)

    return remembered
