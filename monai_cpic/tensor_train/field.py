"""Fields: the functions that are approximated, and the memory of their values."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from monai_cpic.devices import constant, ensure
from monai_cpic.tensor_train.modes import Mode, flat_index, grid_shape

__all__ = ["Field", "Memory", "evaluate", "memoized"]

Field = Callable[[Tensor], Tensor]
"""From points int64 ``[B, P, D + 1]`` (the last number is the channel) to the values ``[B, P]`` of ``B`` fields there."""


def evaluate(field: Field, coordinates: Tensor, dtype: torch.dtype = torch.float64) -> Tensor:
    """Evaluate a field and check what it returns.

    Args:
        field: see :data:`Field`.
        coordinates: points, int64 ``[B, *P, D + 1]``.
        dtype: of the result.

    Returns:
        ``[B, *P]``.

    Raises:
        TypeError: if the field does not return a floating-point tensor.
        ValueError: if it returns another shape, or a tensor on another device than the coordinates.
        FloatingPointError: if a value is NaN or infinite (:func:`~monai_cpic.devices.ensure`).
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
    cast = values.to(dtype)
    finite = cast.detach().isfinite()

    def error() -> FloatingPointError:
        item, point = (~finite).nonzero()[0].tolist()
        return FloatingPointError(
            f"the field returned {values[item, point].item()} for item {item} of the batch at coordinate "
            f"{asked[item, point].tolist()} (the last number is the channel); its values must be finite in {dtype}"
        )

    ensure(finite, error)
    return cast.reshape(batch, *points)


class Memory:
    """A table of rows by integer keys, in which each row is computed once; rows keep their autograd graph.

    Args:
        device: of the keys; those of :meth:`look_up` change it.

    Example:
        >>> memory, asked = Memory(), []
        >>> square = lambda keys: asked.append(keys.tolist()) or keys.double() ** 2
        >>> memory.look_up(torch.tensor([3, 1, 3]), square).tolist()
        [9.0, 1.0, 9.0]
        >>> memory.look_up(torch.tensor([[1, 2]]), square).tolist(), asked
        ([[1.0, 4.0]], [[1, 3], [2]])
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.keys = torch.empty(0, dtype=torch.int64, device=device)  # seen, sorted
        self._slots = self.keys  # their rows in the table
        self._parts: list[Tensor] = []  # the table: the rows of each call; a gradient then has the size of the parts in question
        self._begins = torch.zeros(1, dtype=torch.int64, device="cpu")  # the first slot of each part, and the number of slots

    def look_up(self, keys: Tensor, compute: Callable[[Tensor], Tensor]) -> Tensor:
        """The rows of some keys; those that are new are computed.

        Args:
            keys: int64, any shape.
            compute: a function from new keys ``[N]``, sorted and distinct, to their rows ``[N, …]``.

        Returns:
            ``[*keys.shape, …]``.
        """
        self.keys, self._slots = self.keys.to(keys.device), self._slots.to(keys.device)
        new = keys[~self._contains(keys)].unique()
        if len(new):
            self._parts.append(compute(new))
            count = len(self._slots) + len(new)
            slots = torch.arange(len(self._slots), count, device=keys.device)
            self.keys, order = torch.cat([self.keys, new]).sort()
            self._slots = torch.cat([self._slots, slots])[order]
            self._begins = torch.cat([self._begins, constant([count], self._begins)])
        return self._at(keys)

    def known(self, keys: Tensor) -> tuple[Tensor, Tensor | None]:
        """Which of some distinct keys ``[N]`` have been computed, bool ``[N]``, and their rows; None if there are none."""
        known = self._contains(keys)
        return known, self._at(keys[known]) if known.any() else None

    def rows(self) -> Tensor:
        """The rows of all keys, in the order of ``keys``."""
        return self._at(self.keys)

    def _contains(self, keys: Tensor) -> Tensor:
        position = torch.searchsorted(self.keys, keys).clamp(max=max(len(self.keys) - 1, 0))
        return self.keys[position] == keys if len(self.keys) else torch.zeros_like(keys, dtype=torch.bool)

    def _at(self, keys: Tensor) -> Tensor:
        slots = self._slots[torch.searchsorted(self.keys, keys)]
        part = torch.searchsorted(self._begins.to(slots.device), slots, right=True) - 1
        used = part.unique().tolist()
        shifts = self._begins.new_zeros(len(self._parts))  # from slots in the table to slots in the parts in use
        begin = 0
        for number in used:
            shifts[number] = begin - self._begins[number]
            begin += len(self._parts[number])
        rows = [self._parts[number] for number in used]
        table = rows[0] if len(rows) == 1 else torch.cat(rows)
        found = table.index_select(0, (slots + shifts.to(slots.device)[part]).flatten())
        return found.unflatten(0, keys.shape)


def memoized(field: Field, modes: Sequence[Mode]) -> Field:
    """The same field, but each value is computed once: for a phase without gradient, in which the field does not change."""
    memory = Memory()
    size = math.prod(grid_shape(modes))

    def memoized_field(coordinates: Tensor) -> Tensor:
        batch, axes = len(coordinates), coordinates.shape[2]
        flat = flat_index(modes, coordinates)
        keys = flat + size * torch.arange(batch, device=flat.device)[:, None]

        def compute(new: Tensor) -> Tensor:
            # Fields of the batch need different numbers of new values: shorter lists are padded with a point that is repeated.
            item = new // size
            position = torch.arange(len(new), device=new.device) - torch.searchsorted(item, item)
            first = torch.searchsorted(keys.flatten().sort().values, new)
            where = keys.flatten().argsort()[first]
            asked = coordinates[:, :1].repeat(1, int(position.max()) + 1, 1)
            asked[item, position] = coordinates.reshape(-1, axes)[where]
            return evaluate(field, asked)[item, position]

        return memory.look_up(keys, compute)

    return memoized_field
