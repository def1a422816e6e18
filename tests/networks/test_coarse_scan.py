"""The coarse scan against averages of the whole volume."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from monai_cpic.data import open_volume
from monai_cpic.networks import coarse_scan, coarse_size, scan_summary, summary_size


def parts_of(found: Tensor, channels: int, axes: int) -> tuple[Tensor, Tensor, Tensor]:
    """The cells of the grid and the parts of the volume, ``[C, N]``, and the summary of a coarse scan."""
    means, summary = found[: -summary_size(channels, axes)], found[-summary_size(channels, axes) :]
    cells, parts = means.view(2, channels, -1)
    return cells, parts, summary


@pytest.mark.parametrize(
    ("shape", "edge"),
    [((64, 64, 32), 2), ((1024, 1024, 2), 8), ((100, 80), 1), ((512, 512), 4)],  # at most 16 384 cells
)
def test_cells_that_are_blocks_have_their_means(shape: tuple[int, ...], edge: int) -> None:
    scan = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0))
    cells, parts, summary = parts_of(coarse_scan([open_volume(scan)], shape)[0], 2, len(shape))
    blocks = scan.double()
    for axis, size in enumerate(shape):
        blocks = blocks.unflatten(axis + 1, (max(1, size // edge), -1)).mean(axis + 2)
    torch.testing.assert_close(cells, blocks.flatten(1), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(parts, cells)
    torch.testing.assert_close(summary, scan_summary(cells, torch.ones(len(shape)).double()))


@pytest.mark.parametrize(
    ("shape", "grid", "counts", "edges"),
    [
        ((40, 30, 50), (40, 30, 50), (24, 18, 30), (1, 1, 1)),
        ((35, 51, 35), (48, 64, 48), (22, 30, 22), (1, 1, 1)),
        ((45, 11), (301, 170), (160, 90), (1, 1)),
        ((137, 119, 71), (160, 128, 90), (33, 26, 18), (2, 2, 1)),  # the last block is cut off
        ((1023, 517), (1100, 1040), (131, 124), (2, 2)),
    ],
)
def test_means_are_those_of_many_points(
    shape: tuple[int, ...], grid: tuple[int, ...], counts: tuple[int, ...], edges: tuple[int, ...]
) -> None:
    scan = torch.rand(1, *shape, generator=torch.Generator().manual_seed(0)).double()
    cells, parts, summary = parts_of(coarse_scan([open_volume(scan.float())], grid)[0], 1, len(grid))
    for axis, (size, edge) in enumerate(zip(shape, edges, strict=True), 1):
        blocks = [block.mean(axis, keepdim=True).expand_as(block) for block in scan.split(edge, axis)]
        scan = torch.cat(blocks, axis).narrow(axis, 0, size)
    torch.testing.assert_close(cells, many_points(scan, grid, counts), rtol=0, atol=5e-3)
    torch.testing.assert_close(parts, many_points(scan, shape, counts), rtol=0, atol=5e-3)
    extents = torch.tensor(shape).double() / torch.tensor(grid)
    torch.testing.assert_close(summary, scan_summary(parts, extents))


def many_points(scan: Tensor, extents: tuple[int, ...], counts: tuple[int, ...]) -> Tensor:
    """Means over the cells of a space, in whose middle the scan lies, of a thousand points along each axis of a cell."""
    for axis, (size, extent, count) in enumerate(zip(scan.shape[1:], extents, counts, strict=True), 1):
        points = (torch.arange(1000 * count).double() + 0.5) * extent / (1000 * count) - (extent - size) / 2
        inside = (points >= 0) & (points < size)
        voxels = points.floor().long().clamp(0, size - 1)
        weights = (
            torch.zeros(size, count)
            .double()
            .index_put_((voxels, torch.arange(1000 * count) // 1000), inside.double() / 1000, True)
        )
        scan = (scan.movedim(axis, -1) @ weights).movedim(-1, axis)
    return scan.flatten(1)


@pytest.mark.parametrize(
    ("shape", "grid"),
    [
        ((40, 30, 50), (40, 30, 50)),
        ((208, 532, 11), (208, 532, 11)),
        ((45, 53, 45), (61, 72, 61)),
        ((128, 128, 16), (128, 128, 128)),
    ],
)
def test_every_plane_counts_the_same(shape: tuple[int, ...], grid: tuple[int, ...]) -> None:
    planes = torch.eye(shape[2]).view(shape[2], 1, 1, shape[2]).expand(shape[2], *shape)  # each channel has one of them
    cells, parts, _ = parts_of(coarse_scan([open_volume(planes.contiguous())], grid)[0], shape[2], 3)
    whole = torch.tensor(shape[0] * shape[1]).double()
    torch.testing.assert_close(cells.mean(1), (whole / math.prod(grid)).expand(shape[2]), rtol=1e-5, atol=0)
    torch.testing.assert_close(parts.mean(1), (whole / math.prod(shape)).expand(shape[2]), rtol=1e-5, atol=0)


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
    cells, parts, _ = parts_of(found[0], channels, len(grid))
    assert 1 <= cells.shape[1] <= 2**14
    share = torch.tensor(math.prod(shape) / math.prod(grid)).double()  # of the cells, the rest is 0
    torch.testing.assert_close(cells.mean(), share, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(parts, torch.ones_like(parts))
    filled = [math.log(edge / size) for edge, size in zip(shape, grid, strict=True)]
    torch.testing.assert_close(found[1, -len(grid) :], torch.tensor(filled).double(), rtol=1e-6, atol=1e-6)


def test_a_cell_is_the_same_place_in_scans_of_any_extent() -> None:
    large = torch.rand(1, 64, 96, generator=torch.Generator().manual_seed(0))
    small = large[:, 16:48, 24:72]
    whole, inner = (parts_of(coarse_scan([open_volume(scan)], (64, 96))[0], 1, 2)[0].view(64, 96) for scan in (large, small))
    torch.testing.assert_close(inner[16:48, 24:72], whole[16:48, 24:72])
    assert inner.count_nonzero() == small.count_nonzero()


def test_a_part_is_the_same_share_of_scans_of_any_spacing() -> None:
    ramp = torch.linspace(0, 1, 60).expand(1, 80, 40, 60)
    thin, thick = (
        parts_of(coarse_scan([open_volume(scan)], (80, 40, 60))[0], 1, 3)[1]
        for scan in (ramp, ramp.unflatten(3, (12, 5)).mean(4))
    )
    assert torch.corrcoef(torch.cat([thin, thick]))[0, 1] > 0.99


def test_the_spacing_changes_little() -> None:
    waves = torch.meshgrid(*(torch.linspace(0, 9, size) for size in (90, 78, 84)), indexing="ij")
    scan = torch.stack(waves).sin().prod(0)[None]
    fine = coarse_scan([open_volume(scan)], (96, 80, 96))
    half = coarse_scan([open_volume(torch.nn.functional.avg_pool3d(scan, 2))], (48, 40, 48))
    torch.testing.assert_close(half, fine, rtol=0, atol=0.03)


def test_voxels_that_are_not_finite_are_refused_and_found() -> None:
    scan = torch.ones(1, 8, 16, 8)
    scan[0, 5, 9, 3] = 0
    volume = open_volume(scan).scaled(lambda patches: 1 / patches)
    with pytest.raises(ValueError, match=r"NaN or infinite in the patch around \[6, 10, 2\] of \(8, 16, 8\)"):
        coarse_scan([volume], (8, 16, 8))
