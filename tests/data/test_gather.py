"""The index arithmetic against numpy's own padding, indexing and interpolation."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from monai_cpic.data.gather.indexing import blocks, linear_taps, points, product


@st.composite
def stored_arrays(draw: st.DrawFn) -> np.ndarray:
    """``[C, *spatial]`` of any dtype, seen through any permutation of the spatial axes."""
    shape = draw(st.lists(st.integers(1, 7), min_size=2, max_size=3))
    dtype = draw(st.sampled_from(["<i2", ">i2", "u1", "<f4", ">f8"]))
    channels = draw(st.integers(1, 2))
    values = np.arange(channels * int(np.prod(shape))).reshape(channels, *shape).astype(dtype)
    order = draw(st.permutations(range(1, values.ndim)))
    return values.transpose(0, *order)


@given(stored_arrays(), st.data())
def test_blocks_are_cut_from_the_border_padded_array(array: np.ndarray, data: st.DataObject) -> None:
    spatial = array.shape[1:]
    size = [data.draw(st.integers(1, 9)) for _ in spatial]
    starts = np.array([[data.draw(st.integers(-25, 25)) for _ in spatial] for _ in range(data.draw(st.integers(0, 5)))])
    starts = starts.reshape(-1, len(spatial)).astype(np.int64)
    padded = np.pad(array, [(0, 0)] + [(40, 40)] * len(spatial), mode="edge")
    patches = blocks(array, starts, size)
    assert patches.shape == (len(array), len(starts), *size)
    assert patches.dtype == array.dtype
    for number, start in enumerate(starts + 40):
        window = tuple(slice(first, first + edge) for first, edge in zip(start, size, strict=True))
        np.testing.assert_array_equal(patches[:, number], padded[(slice(None), *window)])


@given(stored_arrays(), st.data())
def test_products_are_numpy_ix(array: np.ndarray, data: st.DataObject) -> None:
    lines = [np.array(data.draw(st.lists(st.integers(0, n - 1), min_size=2, max_size=5))) for n in array.shape[1:]]
    found = points(array, product([line[None] for line in lines]))
    np.testing.assert_array_equal(found[:, 0], array[np.ix_(np.arange(len(array)), *lines)])


@given(stored_arrays(), st.data())
def test_points_are_single_voxels(array: np.ndarray, data: st.DataObject) -> None:
    indices = [np.array([data.draw(st.integers(0, n - 1)) for _ in range(4)]) for n in array.shape[1:]]
    key: tuple[slice | NDArray[Any], ...] = (slice(None), *indices)
    np.testing.assert_array_equal(points(array, indices), array[key])


@given(st.lists(st.lists(st.floats(0, 50), min_size=3, max_size=3), min_size=1, max_size=4), st.floats(0, 1))
def test_taps_interpolate_like_numpy(coordinates: list[list[float]], scale: float) -> None:
    grid, lines = np.cos(np.arange(60.0)), np.array(coordinates) * scale  # near each other and far apart
    indices, weights = linear_taps(lines, 1e-6)
    assert indices.shape[1] <= 2 * lines.shape[1]
    values = grid[indices] if weights is None else (weights @ grid[indices][..., None])[..., 0]
    np.testing.assert_allclose(values, np.interp(lines, np.arange(60), grid), atol=2e-6)


def test_a_row_reads_nothing_beyond_its_own_neighbours() -> None:
    indices, weights = linear_taps(np.array([[0.5, 1.5, 2.5], [6.5, 6.5, 6.5]]), 1e-6)
    assert weights is not None
    assert indices.tolist() == [[0, 1, 2, 3], [6, 7, 7, 7]] and weights[1].tolist() == [[0.5, 0.5, 0.0, 0.0]] * 3


def test_neighbouring_coordinates_share_their_taps() -> None:
    indices, _ = linear_taps(np.array([[7.5, 8.5, 9.5], [0.25, 0.25, 1.25]]), 1e-6)
    assert indices.tolist() == [[7, 8, 9, 10], [0, 1, 2, 2]]
    indices, _ = linear_taps(np.array([[0.5, 20.5, 40.5]]), 1e-6)
    assert sorted(indices[0].tolist()) == [0, 1, 20, 21, 40, 41]


def test_whole_coordinates_need_one_tap() -> None:
    indices, weights = linear_taps(np.array([[-3.0, 2.0 + 5e-7, 5.0 - 5e-7]]), 1e-6)
    assert weights is None
    assert indices.tolist() == [[-3, 2, 5]]
