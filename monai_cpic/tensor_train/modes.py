"""Modes: how the points of a grid become the multi-indices of a tensor.

A field over a grid of ``D`` axes and ``channels`` channels is *tensorized* by a list of modes.  Each mode is a table of offsets,
one for each of its digits.  A multi-index has one digit per mode; its grid point is the sum of their offsets.  A tensor train
(TT) has one mode per axis.  A quantised tensor train (QTT, Khoromskij 2011; paper, section 3.4) has one mode per digit of the
coordinate in a mixed-radix system, binary for sizes that are powers of two.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import torch
from torch import Tensor

from monai_cpic.devices import constant, ensure, move

__all__ = [
    "Mode",
    "coordinates",
    "flat_index",
    "grid_shape",
    "mode_sizes",
    "modes_on",
    "multi_indices",
    "qtt_modes",
    "random_multi_indices",
    "tt_modes",
]


@dataclass(frozen=True, eq=False)
class Mode:
    """One mode of a tensorized grid: digit ``j`` adds ``offsets[j]`` to the coordinate.

    Attributes:
        offsets: int64 ``[n, D + 1]``; the last column is the channel.
        reach: the largest offset along each axis, ``D + 1`` numbers that the host knows.
    """

    offsets: Tensor
    reach: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        good = self.offsets.ndim == 2 and self.offsets.dtype == torch.int64 and len(self.offsets)
        if not good or (self.offsets < 0).any():
            raise ValueError(
                f"a mode needs an int64 table [digits, axes + 1] with at least one digit and no negative number, "
                f"got {self.offsets.dtype} {tuple(self.offsets.shape)}"
            )
        object.__setattr__(self, "reach", tuple(self.offsets.amax(0).tolist()))

    def __len__(self) -> int:
        return len(self.offsets)

    def to(self, device: torch.device | str) -> Mode:
        """The same mode with its table on another device."""
        moved = copy.copy(self)
        object.__setattr__(moved, "offsets", move(self.offsets, torch.device(device)))
        return moved


def tt_modes(shape: Sequence[int], channels: int = 1) -> list[Mode]:
    """One mode per axis, and one for the channels where there are several (the plain TT).

    Args:
        shape: sizes of the ``D`` spatial axes.
        channels: number of channels; one channel needs no mode.

    Returns:
        ``D`` or ``D + 1`` modes.

    Raises:
        ValueError: if the shape is empty, or a size or ``channels`` is below 1.

    Example:
        >>> [len(mode) for mode in tt_modes((4, 6), channels=3)]
        [4, 6, 3]
    """
    shape = _checked(shape, channels)
    digits = [(axis, 1, size) for axis, size in enumerate(shape)]
    return _modes(digits, len(shape), channels)


def qtt_modes(shape: Sequence[int], channels: int = 1, order: str = "axis", radix: int = 2) -> list[Mode]:
    """One mode per prime factor of each axis' size, most significant digit first (the QTT; binary for powers of two).

    A size that is not a power of two gets mixed-radix digits, so multi-indices and voxels of the grid correspond one to one.  A
    size with a large prime factor gets one mode of that many digits; where that is too many, give a larger ``shape`` (virtual
    padding).

    Args:
        shape: sizes of the ``D`` spatial axes.
        channels: number of channels; one channel needs no mode.
        order: ``"axis"`` puts all digits of one axis before those of the next; ``"interleaved"`` goes through the axes level by
            level; ``"fused"`` does so with one mode per level (in three dimensions it has eight digits: an octree).
        radix: consecutive factors of an axis make one mode as long as it has at most so many digits; 4 halves the number of modes
            of a power of two.  A sweep over fewer modes makes fewer and larger calls, which are faster.

    Returns:
        the modes; axes of size 1 have none, unless all sizes are 1.

    Raises:
        ValueError: if the shape is empty, a size or ``channels`` is below 1, ``radix`` is below 2, or ``order`` is unknown.

    Example:
        >>> [len(mode) for mode in qtt_modes((8, 6), channels=5)]
        [2, 2, 2, 3, 2, 5]
        >>> [len(mode) for mode in qtt_modes((8, 6), channels=5, order="fused")]
        [6, 4, 2, 5]
        >>> [len(mode) for mode in qtt_modes((32, 12), radix=4)]
        [2, 4, 4, 3, 4]
    """
    shape = _checked(shape, channels)
    if order not in ("axis", "interleaved", "fused"):
        raise ValueError(f'order must be "axis", "interleaved" or "fused", got {order!r}')
    if radix < 2:
        raise ValueError(f"a digit has at least two values, got radix={radix}")
    levels: list[tuple[int, int, int, int]] = []  # (level, axis, stride, radix)
    for axis, size in enumerate(shape):
        stride = size
        for level, digits_of_mode in enumerate(_factors(size, radix)):
            stride //= digits_of_mode
            levels.append((level, axis, stride, digits_of_mode))
    if order != "axis":
        levels.sort(key=lambda digit: digit[:2])
    digits = [digit[1:] for digit in levels]
    if order != "fused" or not digits:
        return _modes(digits or [(0, 1, 1)], len(shape), channels)
    depths = [level for level, *_ in levels]
    modes = _modes(digits, len(shape), 1)
    fused = [_fused([mode for mode, d in zip(modes, depths, strict=True) if d == depth]) for depth in sorted(set(depths))]
    return fused + _modes([], len(shape), channels)


def _fused(modes: Sequence[Mode]) -> Mode:
    """One mode whose digits are the multi-indices of several."""
    offsets = modes[0].offsets
    for mode in modes[1:]:
        offsets = (offsets[:, None] + mode.offsets).flatten(0, 1)
    return Mode(offsets)


def coordinates(modes: Sequence[Mode], digits: Tensor) -> Tensor:
    """Grid points of multi-indices.

    Args:
        modes: ``D'`` modes.
        digits: multi-indices, int64 ``[..., D']``.

    Returns:
        int64 ``[..., D + 1]``; the last number is the channel.

    Raises:
        ValueError: if there is not one digit for each mode.
    """
    if digits.shape[-1] != len(modes):
        raise ValueError(f"{len(modes)} modes need {len(modes)} digits, got a table {tuple(digits.shape)}")
    return torch.stack([mode.offsets[digits[..., k]] for k, mode in enumerate(modes)]).sum(0)


def multi_indices(modes: Sequence[Mode], coordinates: Tensor) -> Tensor:
    """The inverse of :func:`coordinates`: which index of each mode leads to a grid point.

    Args:
        modes: ``D'`` modes under which every grid point has one multi-index, as those of :func:`qtt_modes` and :func:`tt_modes`.
        coordinates: int64 ``[..., D + 1]``.

    Returns:
        int64 ``[..., D']``.

    Raises:
        ValueError: if a coordinate lies outside the grid, or has another number of axes.

    Example:
        >>> modes = qtt_modes((8, 6))
        >>> multi_indices(modes, torch.tensor([5, 4, 0])).tolist()
        [1, 0, 1, 2, 0]
    """
    shape = list(grid_shape(modes))
    if coordinates.is_floating_point() or coordinates.shape[-1] != len(shape):
        raise ValueError(
            f"coordinates are integers and have {len(shape)} axes, the channel last, to lie in the grid {shape}; got "
            f"{coordinates.dtype} {tuple(coordinates.shape)}"
        )
    reach, rest = constant(shape, coordinates) - 1, coordinates
    inside = ((coordinates >= 0) & (coordinates <= reach)).all(-1)
    ensure(
        inside,
        lambda: ValueError(f"coordinates must lie in the grid {shape}, the channel last, got {coordinates[~inside][0].tolist()}"),
    )
    # From the coarsest mode to the finest: what an index leaves over must be within the reach of the finer ones.
    order = sorted(range(len(modes)), key=lambda k: -max(modes[k].reach))
    found = torch.empty(*coordinates.shape[:-1], len(modes), dtype=torch.int64, device=coordinates.device)
    for k in order:
        offsets = move(modes[k].offsets, coordinates)
        reach = reach - offsets.amax(0)
        left = rest[..., None, :] - offsets
        found[..., k] = ((left >= 0) & (left <= reach)).all(-1).int().argmax(-1)
        rest = rest - offsets[found[..., k]]
    return found


@lru_cache
def modes_on(modes: tuple[Mode, ...], device: torch.device) -> tuple[Mode, ...]:
    """The modes with their tables on a device; they are moved once."""
    return tuple(mode if mode.offsets.device == device else mode.to(device) for mode in modes)


def mode_sizes(modes: Sequence[Mode]) -> list[int]:
    """The number of digits of each mode."""
    return [len(mode) for mode in modes]


def grid_shape(modes: Sequence[Mode]) -> tuple[int, ...]:
    """The shape of the grid that modes tensorize; the last size is the number of channels."""
    return tuple(1 + sum(axis) for axis in zip(*(mode.reach for mode in modes), strict=True))


def flat_index(modes: Sequence[Mode], coordinates: Tensor) -> Tensor:
    """Row-major positions of grid points, the channel fastest.

    The position is linear in the coordinates, so it is also defined for partial ones: positions of their sums are sums.

    Args:
        modes: the tensorization.
        coordinates: int64 ``[..., D + 1]``.

    Returns:
        int64 ``[...]``.
    """
    return (coordinates * _strides(tuple(modes), coordinates.device)).sum(-1)


@lru_cache
def _strides(modes: tuple[Mode, ...], device: torch.device) -> Tensor:
    shape = grid_shape(modes)
    return constant([math.prod(shape[axis + 1 :]) for axis in range(len(shape))], device)


def random_multi_indices(modes: Sequence[Mode], count: int, generator: torch.Generator) -> Tensor:
    """``count`` random multi-indices, or all of them where there are no more, int64 ``[P, D']``."""
    sizes = mode_sizes(modes)
    device = modes[0].offsets.device
    total = math.prod(sizes)
    if total > 4 * count:  # with replacement: repetitions are rare
        drawn = [torch.randint(size, (count,), generator=generator, device=generator.device) for size in sizes]
        return move(torch.stack(drawn, 1), device)
    flat = torch.arange(total, device=generator.device)
    if total > count:
        flat = torch.randperm(total, generator=generator, device=generator.device)[:count]
    return move(torch.stack(torch.unravel_index(flat, tuple(sizes)), 1), device)


def _modes(digits: list[tuple[int, int, int]], axes: int, channels: int) -> list[Mode]:
    if channels > 1:
        digits = [*digits, (axes, 1, channels)]
    modes = []
    for axis, stride, radix in digits:
        offsets = torch.zeros(radix, axes + 1, dtype=torch.int64, device="cpu")
        offsets[:, axis] = stride * torch.arange(radix, device="cpu")
        modes.append(Mode(offsets))
    return modes


def _checked(shape: Sequence[int], channels: int) -> tuple[int, ...]:
    shape = tuple(int(size) for size in shape)
    if not shape or min(shape) < 1 or channels < 1:
        raise ValueError(f"a grid needs at least one axis and sizes and channels of at least 1, got {shape}, {channels}")
    return shape


def _factors(size: int, largest: int) -> list[int]:
    """Factors of ``size``, larger primes first; small ones are multiplied with each other up to ``largest``."""
    factors: list[int] = []
    divisor = 2
    while size > 1:
        while size % divisor:
            divisor += 1
        if factors and factors[-1] * divisor <= largest:
            factors[-1] *= divisor
        else:
            factors.append(divisor)
        size //= divisor
    return factors[::-1]
