"""Blocks of voxels: their edges, centres and means."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from monai_cpic.data import ArraySource
from monai_cpic.data.pyramid import averaging
from monai_cpic.data.pyramid.geometry import block_centres, factors_below, factors_of_step, level_shape
from monai_cpic.testing.dense import dense_factors, dense_means


@given(st.integers(0, 6), st.lists(st.floats(0.05, 20), min_size=2, max_size=3))
def test_factors_are_as_near_as_possible(exponent: int, lengths: list[float]) -> None:
    step = 2**exponent
    factors = factors_of_step(step, lengths)
    assert factors[int(np.argmin(lengths))] == step
    for factor, length, best in zip(factors, lengths, dense_factors(step, lengths), strict=True):
        assert 1 <= factor <= step
        assert factor.bit_count() == 1
        wanted = step * min(lengths)
        assert abs(factor * length - wanted) <= abs(best * length - wanted) + 1e-5 * wanted


def test_factors_of_known_scans() -> None:
    assert [factors_of_step(step, (0.7, 0.7, 5)) for step in (1, 4, 16)] == [(1, 1, 1), (4, 4, 1), (16, 16, 2)]
    assert factors_of_step(4, (1, 1 + 1e-9, 1 - 1e-9)) == (4, 4, 4)
    assert factors_of_step(4, (1, 4 / 3 * (1 + 1e-12), 4 / 3 * (1 - 1e-12))) == (4, 2, 2)  # equally near: the smaller
    assert factors_of_step(4, (0, 0, 0)) == (1, 1, 1)  # an affine without lengths


@given(st.lists(st.tuples(st.integers(1, 70), st.sampled_from([1, 2, 4, 8])), min_size=2, max_size=3), st.integers(-30, 30))
def test_every_voxel_lies_in_the_block_around_its_centre(axes: list[tuple[int, int]], shift: int) -> None:
    shape, factors = [edge for edge, _ in axes], [factor for _, factor in axes]
    voxels = np.array(shape) - 1
    blocks = voxels // factors
    assert tuple(blocks + 1) == level_shape(shape, factors)
    centres = block_centres(factors) @ [*blocks, 1]
    assert (np.abs(centres[:-1] - voxels) <= (np.array(factors) - 1) / 2).all()
    assert factors_below(np.diag([*factors, 1.0]) @ block_centres((1,) * len(axes))) == tuple(factors)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 20), st.sampled_from([1, 2, 4, 8])), min_size=2, max_size=3),
    st.integers(1, 2),
    st.integers(1, 3000),
    st.data(),
)
def test_parts_of_any_size_give_the_same_means(
    axes: list[tuple[int, int]], channels: int, voxels: int, data: st.DataObject
) -> None:
    shape, factors = [edge for edge, _ in axes], [factor for _, factor in axes]
    order = data.draw(st.permutations(range(len(axes))))
    chunks = data.draw(st.none() | st.lists(st.integers(1, 12), min_size=len(axes), max_size=len(axes)))
    values = np.random.default_rng(0).integers(-100, 100, (channels, *shape)).astype(np.int16)
    edges = averaging.part_edges(shape, factors, order, voxels)
    assert all(edge % factor == 0 for edge, factor in zip(edges, factors, strict=True))
    assert math.prod(edges) <= max(voxels, math.prod(factors))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(averaging, "PART", voxels)
        slabs = list(averaging.slabs(ArraySource(values, scaling=(0.5, 3)), factors, order, chunks))
    found = np.concatenate(slabs, order[0] + 1)
    np.testing.assert_allclose(found, dense_means(torch.from_numpy(values * 0.5 + 3), factors), atol=1e-4)
