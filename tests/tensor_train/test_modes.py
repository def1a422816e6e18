"""Every point of a grid has exactly one multi-index."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from monai_cpic.tensor_train import Mode, coordinates, flat_index, grid_shape, mode_sizes, multi_indices, qtt_modes, tt_modes

SHAPES = st.lists(st.integers(1, 12), min_size=1, max_size=5).filter(lambda shape: math.prod(shape) <= 600)


@settings(max_examples=60, deadline=None)
@given(
    shape=SHAPES,
    channels=st.integers(1, 4),
    kind=st.sampled_from(["tt", "axis", "interleaved", "fused"]),
    radix=st.integers(2, 9),
)
def test_multi_indices_and_points_correspond_one_to_one(shape: list[int], channels: int, kind: str, radix: int) -> None:
    modes = tt_modes(shape, channels) if kind == "tt" else qtt_modes(shape, channels, order=kind, radix=radix)
    digits = torch.tensor(list(itertools.product(*(range(n) for n in mode_sizes(modes)))))
    found = coordinates(modes, digits)
    expected = torch.tensor(list(itertools.product(*(range(n) for n in [*shape, channels]))))
    assert torch.equal(torch.unique(found, dim=0), expected)
    assert len(found) == len(expected)
    assert grid_shape(modes) == (*shape, channels)
    assert flat_index(modes, found).sort().values.equal(torch.arange(len(expected)))
    assert torch.equal(multi_indices(modes, found), digits)


@settings(max_examples=30, deadline=None)
@given(shape=st.lists(st.integers(1, 5).map(lambda k: 2**k), min_size=1, max_size=3))
def test_powers_of_two_give_binary_modes(shape: list[int]) -> None:
    modes = qtt_modes(shape)
    assert mode_sizes(modes) == [2] * int(math.log2(math.prod(shape)))


@settings(max_examples=30, deadline=None)
@given(size=st.integers(2, 600), radix=st.integers(2, 16))
def test_modes_have_at_most_radix_digits_or_a_prime_number(size: int, radix: int) -> None:
    sizes = mode_sizes(qtt_modes((size,), radix=radix))
    assert math.prod(sizes) == size
    assert all(n <= radix or all(n % k for k in range(2, n)) for n in sizes)


def test_axis_order_is_row_major() -> None:
    modes = qtt_modes((4, 6), channels=3)
    digits = torch.tensor(list(itertools.product(*(range(n) for n in mode_sizes(modes)))))
    flat = (coordinates(modes, digits) * torch.tensor([18, 3, 1])).sum(1)
    assert torch.equal(flat, torch.arange(4 * 6 * 3))


@pytest.mark.parametrize("make", [tt_modes, qtt_modes])
@pytest.mark.parametrize(("shape", "channels"), [((), 1), ((4, 0), 1), ((4,), 0)])
def test_impossible_grids_are_refused(make: Callable[..., list[Mode]], shape: tuple[int, ...], channels: int) -> None:
    with pytest.raises(ValueError, match="at least"):
        make(shape, channels)


def test_unknown_order_and_bad_tables_are_refused() -> None:
    with pytest.raises(ValueError, match="diagonal"):
        qtt_modes((4,), order="diagonal")
    with pytest.raises(ValueError, match="radix=1"):
        qtt_modes((4,), radix=1)
    with pytest.raises(ValueError, match="int64 table"):
        Mode(torch.zeros(2, 3))
    with pytest.raises(ValueError, match="digits"):
        coordinates(tt_modes((2, 2)), torch.zeros(5, 3, dtype=torch.int64))


@pytest.mark.parametrize("points", [[[8, 0, 0]], [[0, -1, 0]], [[0, 0, 1]], [[0, 0]]])
def test_points_outside_the_grid_have_no_multi_index(points: list[list[int]]) -> None:
    with pytest.raises(ValueError, match=r"lie in the grid \[8, 6, 1\]"):
        multi_indices(qtt_modes((8, 6)), torch.tensor(points))
