"""The coarse scan against averages of the whole volume."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from monai_cpic.data import open_volume
from monai_cpic.networks import coarse_scan, coarse_size


def test_cells_that_are_blocks_have_their_means() -> None:
    scan = torch.rand(2, 64, 64, 64)
    found = coarse_scan([open_volume(scan)], (64, 64, 64))[0]
    cells, edges = 32 * 32 * 16, (2, 2, 4)  # of voxels; the largest cube of a power of two that fits has edges of 2
    means = torch.nn.functional.avg_pool3d(scan[None], 2)[0]
    centres = [[(2 * i + 1) * edge // 2 // 2 for i in range(64 // edge)] for edge in edges]
    expected = means[:, centres[0]][:, :, centres[1]][:, :, :, centres[2]]
    torch.testing.assert_close(found[: 2 * cells], expected.flatten().double())
    assert found[2 * cells :].tolist() == [0.0, 0.0, 0.0]


@given(
    shape=st.lists(st.integers(1, 40), min_size=2, max_size=3),
    channels=st.integers(1, 3),
    room=st.lists(st.integers(0, 9), min_size=3, max_size=3),
)
@settings(max_examples=50, deadline=None)
def test_the_size_is_known_before_a_scan_is_read(shape: list[int], channels: int, room: list[int]) -> None:
    grid = [edge + more for edge, more in zip(shape, room, strict=False)]
    volume = open_volume(torch.ones(channels, *shape))
    found = coarse_scan([volume, volume], grid)
    assert found.shape == (2, coarse_size(grid, channels))
    assert channels <= found.shape[1] - len(grid) <= 2**14 * channels
    torch.testing.assert_close(found[0, : -len(grid)], torch.ones(len(found[0]) - len(grid)).double())
    filled = [math.log(edge / size) for edge, size in zip(shape, grid, strict=True)]
    torch.testing.assert_close(found[1, -len(grid) :], torch.tensor(filled).double(), rtol=1e-6, atol=1e-6)


def test_cells_are_parts_of_the_volume_not_of_the_grid() -> None:
    ramp = torch.linspace(0, 1, 64).expand(1, 64, 64)
    small, large = (coarse_scan([open_volume(torch.nn.functional.interpolate(ramp, n))], (64, 64))[0, :-2] for n in (32, 64))
    assert small.shape == large.shape
    torch.testing.assert_close(small.min(), large.min(), rtol=0, atol=0.03)
    torch.testing.assert_close(small.max(), large.max(), rtol=0, atol=0.03)


def test_voxels_that_are_not_finite_are_refused() -> None:
    scan = torch.ones(1, 8, 8, 8)
    volume = open_volume(scan).scaled(lambda patches: patches / 0)
    with pytest.raises(ValueError, match="NaN or infinite"):
        coarse_scan([volume], (8, 8, 8))
