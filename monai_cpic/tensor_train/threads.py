"""How many threads torch computes with: several of them take many times as long for small matrices as one does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

__all__ = ["backward_in_one_thread", "threads"]


@contextmanager
def threads(count: int) -> Iterator[None]:
    """A block, or with ``@threads(count)`` a function, in which torch computes with so many threads.

    Example:
        >>> before = torch.get_num_threads()
        >>> with threads(1):
        ...     torch.get_num_threads()
        1
        >>> torch.get_num_threads() == before
        True
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def backward_in_one_thread(values: Tensor) -> Tensor:
    """The same values; from them on the backward pass computes with one thread, to its end.

    Those on an accelerator are returned as they are: their backward pass runs in a thread of its own, which has its own number.
    """
    if not values.is_cpu:
        return values
    found: Tensor = _Backward.apply(values)  # type: ignore[no-untyped-call]  # torch does not declare it
    return found


class _Backward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        if torch.get_num_threads() > 1:
            torch.autograd.Variable._execution_engine.queue_callback(_Restored(torch.get_num_threads()))
            torch.set_num_threads(1)
        return gradient


class _Restored:
    """Restores the number of threads when the backward pass forgets it: at its end, also after an error."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __call__(self) -> None:
        """Nothing to do yet."""

    def __del__(self) -> None:
        torch.set_num_threads(self.count)
