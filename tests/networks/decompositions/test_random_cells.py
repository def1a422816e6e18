"""Random points in cells, and what comes of them, against dense fields."""

from __future__ import annotations

import math

import torch
from gradients import gradient
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from monai_cpic.data import open_volume
from monai_cpic.networks import (
    ChannelMaxima,
    ChannelMeans,
    PooledEncoder,
    RandomCells,
    TTBottleneck,
    TTProjection,
    VoxelEncoder,
    random_cells_net,
)
from monai_cpic.networks.decompositions.random_cells import cell_counts, points_in_cells
from monai_cpic.testing import DecompositionTestCase

SHAPE = (16, 16, 8)


class TestRandomCells(DecompositionTestCase):
    def decomposition(self) -> RandomCells:
        return RandomCells((9, 8, 5), n_dims=3, cells=16)


@given(st.lists(st.integers(1, 600), min_size=1, max_size=4), st.integers(1, 5000))
def test_cells_are_no_smaller_than_voxels_and_no_more_than_wanted(shape: list[int], points: int) -> None:
    counts = cell_counts(shape, points)
    assert math.prod(counts) <= points and all(count <= size for count, size in zip(counts, shape, strict=True))
    fits_another = any(2 * count <= size for count, size in zip(counts, shape, strict=True))
    assert not fits_another or 2 * math.prod(counts) > points


@given(st.lists(st.sampled_from([1, 2, 4, 8]), min_size=1, max_size=3), st.integers(0, 100))
def test_each_cell_has_one_point(counts: list[int], seed: int) -> None:
    places = points_in_cells(counts, seed)
    cells = (places * torch.tensor(counts)).long()
    expected = torch.cartesian_prod(*(torch.arange(count) for count in counts)).reshape(-1, len(counts))
    assert torch.equal(cells, expected) and bool((places >= 0).all()) and bool((places < 1).all())


def test_with_a_cell_for_each_voxel_means_and_maxima_are_those_of_the_dense_field() -> None:
    volumes = torch.rand(3, 2, *SHAPE)
    bottleneck = TTBottleneck(VoxelEncoder(in_channels=2), RandomCells(SHAPE, 2, cells=math.prod(SHAPE))).eval()
    field = bottleneck([open_volume(volume) for volume in volumes])
    means, maxima = ChannelMeans(2).eval()(field), ChannelMaxima(2).eval()(field)
    running = bottleneck.standardise
    assert running.running_mean is not None and running.running_var is not None
    for found, dense in ((means, volumes.mean((2, 3, 4))), (maxima, volumes.amax((2, 3, 4)))):
        expected = (dense - running.running_mean) / (running.running_var + running.eps).sqrt()
        torch.testing.assert_close(found, expected.double(), rtol=1e-5, atol=1e-6)


def test_a_prediction_depends_on_the_scan_alone_and_sees_all_of_a_smaller_one() -> None:
    volumes = [open_volume(torch.rand(1, *shape)) for shape in (SHAPE, (9, 8, 5), SHAPE)]
    net = random_cells_net(SHAPE, n_dims=4).eval()
    with torch.no_grad():
        together = net(volumes)
        for points, volume in zip(net.bottleneck.sampled, volumes, strict=True):
            assert bool((points < torch.tensor(volume.shape[1:])).all())
        apart = torch.cat([net([volume]) for volume in volumes])
    torch.testing.assert_close(together, apart)


def test_training_moves_the_points_and_the_encoders_running_statistics() -> None:
    volumes = [open_volume(10 * torch.rand(1, *SHAPE)) for _ in range(4)]
    net = random_cells_net(SHAPE, n_dims=4)
    norm = next(layer for layer in net.encoder.modules() if isinstance(layer, nn.BatchNorm3d))
    seen = []
    for _ in range(2):
        net(volumes).square().sum().backward()
        assert norm.running_mean is not None
        seen.append((net.bottleneck.sampled[0].clone(), norm.running_mean.clone()))
    assert not torch.equal(seen[0][0], seen[1][0]) and not torch.equal(seen[0][1], seen[1][1])
    assert all(gradient(parameter).isfinite().all() for parameter in net.parameters())


def test_the_canonical_projection_takes_a_single_mode_too() -> None:
    cells = RandomCells(SHAPE, n_dims=4, cells=64)
    bottleneck, projection = TTBottleneck(PooledEncoder(n_dims=4), cells), TTProjection(3, cells.mode_sizes, cells.ranks)
    features = projection(bottleneck([open_volume(volume) for volume in torch.rand(5, 1, *SHAPE)]))
    torch.testing.assert_close(features.mean(0), torch.zeros(3).double(), rtol=0, atol=1e-9)
