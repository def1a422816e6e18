"""The coarse scan against averages of the whole volume."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor

from monai_cpic.data import open_volume
from monai_cpic.networks import coarse_scan, coarse_size, scan_summary, summary_size


@pytest.mark.parametrize(
    ("shape", "edge"),
    [((64, 64, 32), 2), ((1024, 1024, 2), 8), ((100, 80), 1), ((512, 512), 4)],  # at most 16 384 cells
)
def test_cells_that_are_blocks_have_their_means(shape: tuple[int, ...], edge: int) -> None:
    scan = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0))
    found = coarse_scan([open_volume(scan)], shape)[0]
    blocks = scan.double()
    for axis, size in enumerate(shape):
        blocks = blocks.unflatten(axis + 1, (max(1, size // edge), -1)).mean(axis + 2)
    cells = found[: -summary_size(2, len(shape))]
    torch.testing.assert_close(cells, blocks.flatten(), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(found[len(cells) :], scan_summary(cells.view(2, -1), torch.ones(len(shape)).double()))


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.7, 0.7, 5.0)])
@pytest.mark.parametrize(
    ("shape", "grid", "cells"),
    [
        ((40, 30, 50), (40, 30, 50), 30),
        ((208, 532, 11), (208, 532, 11), 2),
        ((45, 53, 45), (61, 72, 61), 24),
        ((128, 128, 16), (128, 128, 128), 25),
    ],
)
def test_no_plane_is_left_out(shape: tuple[int, ...], grid: tuple[int, ...], cells: int, spacing: tuple[float, ...]) -> None:
    planes = torch.eye(shape[2]).view(shape[2], 1, 1, shape[2]).expand(shape[2], *shape)  # each channel has one of them
    volume = open_volume(MetaTensor(planes.contiguous(), torch.diag(torch.tensor([*spacing, 1.0], dtype=torch.float64))))
    counted = coarse_scan([volume], grid)[0, : -summary_size(shape[2], 3)].view(shape[2], -1).any(1)
    assert counted[: shape[2] - shape[2] // (2 * cells)].all()  # but for some of the last half cell


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
    cells = found.shape[1] - summary_size(channels, len(grid))
    assert channels <= cells <= 2**14 * channels
    torch.testing.assert_close(found[0, :cells], torch.ones(cells).double())
    filled = [math.log(edge / size) for edge, size in zip(shape, grid, strict=True)]
    torch.testing.assert_close(found[1, -len(grid) :], torch.tensor(filled).double(), rtol=1e-6, atol=1e-6)


def test_cells_are_parts_of_the_volume_not_of_the_grid() -> None:
    ramp = torch.linspace(0, 1, 64).expand(1, 64, 64)
    small, large = (
        coarse_scan([open_volume(torch.nn.functional.interpolate(ramp, n))], (64, 64))[0, : -summary_size(1, 2)] for n in (32, 64)
    )
    assert small.shape == large.shape
    torch.testing.assert_close(small.min(), large.min(), rtol=0, atol=0.03)
    torch.testing.assert_close(small.max(), large.max(), rtol=0, atol=0.03)


def test_voxels_that_are_not_finite_are_refused() -> None:
    scan = torch.ones(1, 8, 8, 8)
    volume = open_volume(scan).scaled(lambda patches: patches / 0)
    with pytest.raises(ValueError, match="NaN or infinite"):
        coarse_scan([volume], (8, 8, 8))
