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


@pytest.mark.parametrize(
    ("shape", "grid", "counts"),
    [((40, 30, 50), (40, 30, 50), (24, 18, 30)), ((35, 51, 35), (48, 64, 48), (22, 30, 22)), ((45, 11), (301, 170), (160, 90))],
)
def test_means_are_those_of_many_points_of_a_cell(shape: tuple[int, ...], grid: tuple[int, ...], counts: tuple[int, ...]) -> None:
    scan = torch.rand(1, *shape, generator=torch.Generator().manual_seed(0))
    found = coarse_scan([open_volume(scan)], grid)[0, : -summary_size(1, len(grid))].view(1, *counts)
    expected = scan.double()
    for axis, (size, extent, count) in enumerate(zip(shape, grid, counts, strict=True), 1):
        points = (torch.arange(1000 * count).double() + 0.5) * extent / (1000 * count) - (extent - size) / 2
        inside = (points >= 0) & (points < size)
        picked = expected.index_select(axis, points.floor().long().clamp(0, size - 1)).movedim(axis, -1)
        expected = (picked * inside).unflatten(-1, (count, 1000)).mean(-1).movedim(-1, axis)
    torch.testing.assert_close(found, expected, rtol=0, atol=5e-3)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.7, 0.7, 5.0)])
@pytest.mark.parametrize(
    ("shape", "grid"),
    [
        ((40, 30, 50), (40, 30, 50)),
        ((208, 532, 11), (208, 532, 11)),
        ((45, 53, 45), (61, 72, 61)),
        ((128, 128, 16), (128, 128, 128)),
    ],
)
def test_every_plane_counts_the_same(shape: tuple[int, ...], grid: tuple[int, ...], spacing: tuple[float, ...]) -> None:
    planes = torch.eye(shape[2]).view(shape[2], 1, 1, shape[2]).expand(shape[2], *shape)  # each channel has one of them
    volume = open_volume(MetaTensor(planes.contiguous(), torch.diag(torch.tensor([*spacing, 1.0], dtype=torch.float64))))
    counted = coarse_scan([volume], grid)[0, : -summary_size(shape[2], 3)].view(shape[2], -1).mean(1)
    whole = shape[0] * shape[1] / math.prod(grid)
    torch.testing.assert_close(counted, torch.full_like(counted, whole), rtol=1e-5, atol=0)


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
    share = torch.tensor(math.prod(shape) / math.prod(grid)).double()  # of the cells, the rest is 0
    torch.testing.assert_close(found[0, :cells].mean(), share, rtol=1e-6, atol=1e-6)
    filled = [math.log(edge / size) for edge, size in zip(shape, grid, strict=True)]
    torch.testing.assert_close(found[1, -len(grid) :], torch.tensor(filled).double(), rtol=1e-6, atol=1e-6)


def test_a_cell_is_the_same_place_in_scans_of_any_extent() -> None:
    large = torch.rand(1, 64, 96, generator=torch.Generator().manual_seed(0))
    small = large[:, 16:48, 24:72]
    whole, inner = (coarse_scan([open_volume(scan)], (64, 96))[0, : -summary_size(1, 2)].view(64, 96) for scan in (large, small))
    torch.testing.assert_close(inner[16:48, 24:72], whole[16:48, 24:72])
    assert inner.count_nonzero() == small.count_nonzero()


def test_the_spacing_changes_little() -> None:
    waves = torch.meshgrid(*(torch.linspace(0, 9, size) for size in (90, 78, 84)), indexing="ij")
    scan = torch.stack(waves).sin().prod(0)[None]
    fine = coarse_scan([open_volume(scan)], (96, 80, 96))
    half = coarse_scan([open_volume(torch.nn.functional.avg_pool3d(scan, 2))], (48, 40, 48))
    torch.testing.assert_close(half, fine, rtol=0, atol=0.03)


def test_voxels_that_are_not_finite_are_refused() -> None:
    scan = torch.ones(1, 8, 8, 8)
    volume = open_volume(scan).scaled(lambda patches: patches / 0)
    with pytest.raises(ValueError, match="NaN or infinite"):
        coarse_scan([volume], (8, 8, 8))
