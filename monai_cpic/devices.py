"""Working on an accelerator without waiting for it.

An accelerator computes what it has been asked for while the host already asks for more.  The host must wait for it as soon as it
wants to know a value (``item``, ``nonzero``, indexing by a mask) or copies memory synchronously, which takes longer than the
operations of a step.  Steps therefore take shapes that do not depend on values, numbers that the host knows, and these functions.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["announce", "constant", "each_axis", "ensure", "memory_for_scans", "move", "on_host", "side_by_side"]

logger = logging.getLogger(__name__)


def announce(device: torch.device | str, amp: bool, gibibytes: float) -> None:
    """Log in one line where a run computes.

    Args:
        device: of the network.
        amp: whether it computes in mixed precision (autocast).
        gibibytes: of the device's memory that scans may take.
    """
    name = str(device)
    if torch.device(device).type == "cuda":
        free, total = (size / 2**30 for size in torch.cuda.mem_get_info(device))
        name += f" ({torch.cuda.get_device_name(device)}, {free:.1f} of {total:.1f} GiB free)"
    kept = f"up to {gibibytes:g} GiB of scans stay there" if gibibytes else "scans are read from disk"
    logger.info("Device: %s; mixed precision: %s; %s", name, "on" if amp else "off", kept)


def memory_for_scans(device: torch.device | str, num_workers: int = 0) -> float:
    """How many GiB of a device's memory scans may take unless a user says: half of what is free on a GPU, nothing on the host.

    Args:
        device: of the network.
        num_workers: processes that open scans; they cannot share the memory of a GPU, so that with any the result is 0.
    """
    if num_workers or torch.device(device).type != "cuda":
        return 0.0
    free, _ = torch.cuda.mem_get_info(device)
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # of an earlier training of this process
    return (free + unused) / 2**31


def on_host(values: Tensor) -> bool:
    """Whether the host knows the values without waiting for an accelerator."""
    return values.is_cpu


def move(values: Tensor, to: Tensor | torch.device) -> Tensor:
    """The values on the device of another tensor; the host does not wait for a copy to an accelerator.

    To a GPU they go through pinned memory, since a copy from any other makes the host wait.

    Args:
        values: not to be changed on the host until the accelerator has computed; or on the device already.
        to: the device, or a tensor there.
    """
    device = to.device if isinstance(to, Tensor) else torch.device(to)
    if device.type == "cuda" and on_host(values):
        values = values.contiguous().pin_memory()  # memory of values that overlap cannot be pinned
    return values.to(device, non_blocking=device.type != "cpu")  # the host would read a copy that is not there yet


def side_by_side(make: Callable[[], Tensor], device: torch.device) -> Tensor:
    """Make a tensor on a device by copies from the host, on a GPU while that goes on with what it has been asked before.

    Args:
        make: makes the tensor there; what this thread asks of the GPU afterwards waits for the copies.
        device: where.

    Example:
        >>> side_by_side(lambda: torch.arange(3), torch.device("cpu"))
        tensor([0, 1, 2])
    """
    if device.type != "cuda":
        return make()
    copies, computation = _stream_of_copies(device), torch.cuda.current_stream(device)
    with torch.cuda.stream(copies):
        values = make()
    computation.wait_stream(copies)
    values.record_stream(computation)  # its memory is not free as long as that may read it
    return values


@functools.cache
def _stream_of_copies(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)


def constant(values: Sequence[Any], to: Tensor | torch.device) -> Tensor:
    """Numbers that the host knows as a tensor on a device: int64, float32 or bool, as :func:`torch.tensor` makes them.

    Example:
        >>> constant([2, 3], torch.zeros(5))
        tensor([2, 3])
    """
    return move(torch.tensor(values, device="cpu"), to)


def each_axis(values: Sequence[int], to: Tensor | torch.device) -> Tensor | int:
    """A number for each axis as a :func:`constant`; a single one for all axes as it is, which takes no time."""
    return values[0] if len(set(values)) == 1 else constant(values, to)


def ensure(good: Tensor, error: Callable[[], Exception]) -> None:
    """Raise an error unless a condition holds everywhere.

    On an accelerator the device asserts it when it gets there; the host hears of it in a later call, without the details.

    Args:
        good: bool, any shape.
        error: makes the error, from values that the host may look at.

    Example:
        >>> ensure(torch.tensor([True, True]), lambda: ValueError("one is bad"))
    """
    if not on_host(good):
        torch._assert_async(good.all())
    elif not good.all():
        raise error()
