"""Stratified sampling, channel means and the pooled encoder against dense fields and torch's batch normalization."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from monai_cpic.data import open_volume
from monai_cpic.networks import ChannelMeans, CPICNet, PooledEncoder, TTBottleneck, TTProjection, VoxelEncoder
from monai_cpic.networks.decompositions.strata import cell_counts, stratified_places
from monai_cpic.tensor_train import TensorTrain

SHAPE = (16, 16, 8)


@given(st.lists(st.integers(1, 600), min_size=1, max_size=4), st.integers(1, 5000))
def test_cells_are_no_smaller_than_voxels_and_no_more_than_wanted(shape: list[int], points: int) -> None:
    counts = cell_counts(shape, points)
    assert math.prod(counts) <= points and all(count <= size for count, size in zip(counts, shape, strict=True))
    fits_another = any(2 * count <= size for count, size in zip(counts, shape, strict=True))
    assert not fits_another or 2 * math.prod(counts) > points


@given(st.lists(st.sampled_from([1, 2, 4, 8]), min_size=1, max_size=3), st.integers(0, 100))
def test_each_cell_has_one_place(counts: list[int], seed: int) -> None:
    places = stratified_places(counts, seed)
    cells = (places * torch.tensor(counts)).long()
    expected = torch.cartesian_prod(*(torch.arange(count) for count in counts)).reshape(-1, len(counts))
    assert torch.equal(cells, expected) and bool((places >= 0).all()) and bool((places < 1).all())


def test_with_a_cell_for_each_voxel_the_means_are_those_of_the_dense_field() -> None:
    volumes = torch.rand(3, 2, *SHAPE)
    bottleneck = TTBottleneck(VoxelEncoder(in_channels=2), SHAPE, decomposition="stratified", cells=math.prod(SHAPE)).eval()
    trains = bottleneck([open_volume(volume) for volume in volumes])
    means = ChannelMeans(2).eval()(trains)
    running = bottleneck.standardise
    expected = (volumes.mean((2, 3, 4)) - running.running_mean) / (running.running_var + running.eps).sqrt()
    torch.testing.assert_close(means, expected.double(), rtol=1e-5, atol=1e-6)


def test_a_prediction_depends_on_the_scan_alone_and_sees_all_of_a_smaller_one() -> None:
    volumes = [open_volume(torch.rand(1, *shape)) for shape in (SHAPE, (9, 8, 5), SHAPE)]
    net = CPICNet(SHAPE, decomposition="stratified", projection="means", encoder=PooledEncoder(n_dims=4)).eval()
    with torch.no_grad():
        together = net(volumes)
        for points, volume in zip(net.bottleneck.sampled, volumes, strict=True):
            assert bool((points < torch.tensor(volume.shape[1:])).all())
        apart = torch.cat([net([volume]) for volume in volumes])
    torch.testing.assert_close(together, apart)


def test_training_moves_the_places_and_the_encoders_running_statistics() -> None:
    volumes = [open_volume(10 * torch.rand(1, *SHAPE)) for _ in range(4)]
    net = CPICNet(SHAPE, decomposition="stratified", projection="means", linear_path=True, encoder=PooledEncoder(n_dims=4))
    norm = next(layer for layer in net.encoder.modules() if isinstance(layer, nn.BatchNorm3d))
    seen = []
    for _ in range(2):
        net(volumes).square().sum().backward()
        seen.append((net.bottleneck.sampled[0].clone(), norm.running_mean.clone()))
    assert not torch.equal(seen[0][0], seen[1][0]) and not torch.equal(seen[0][1], seen[1][1])
    assert all(parameter.grad is not None and bool(parameter.grad.isfinite().all()) for parameter in net.parameters())
    assert net.gram() is not None


def test_the_canonical_projection_takes_stratified_trains_too() -> None:
    bottleneck = TTBottleneck(PooledEncoder(n_dims=4), SHAPE, decomposition="stratified", cells=64)
    projection = TTProjection(3, bottleneck.mode_sizes, bottleneck.bond_rank)
    trains = bottleneck([open_volume(volume) for volume in torch.rand(5, 1, *SHAPE)])
    features = projection(trains)
    torch.testing.assert_close(features.mean(0), torch.zeros(3).double(), rtol=0, atol=1e-9)


def test_channel_means_are_batch_normalised_means() -> None:
    oracle = nn.BatchNorm1d(3, affine=False, eps=1e-12).double()
    means = ChannelMeans(3)
    for step in range(3):
        trains = TensorTrain([torch.rand(6, *core, dtype=torch.float64) for core in ((1, 4, 2), (2, 5, 2), (2, 3, 1))])
        dense = trains.to_dense().mean((1, 2))
        oracle.momentum = 0.1 if step else 1.0
        torch.testing.assert_close(means(trains), oracle(dense))
        torch.testing.assert_close(means.mean, oracle.running_mean)
    means.refresh(trains)
    features = means.eval()(trains)
    torch.testing.assert_close(features.mean(0), torch.zeros(3).double(), rtol=0, atol=1e-12)
    torch.testing.assert_close(features.var(0, correction=0), torch.ones(3).double())


def test_gradients_of_channel_means() -> None:
    def function(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        return ChannelMeans(3)(TensorTrain([first, second]))

    cores = [torch.rand(4, 1, 5, 2).double().requires_grad_(), torch.rand(4, 2, 3, 1).double().requires_grad_()]
    assert torch.autograd.gradcheck(function, cores)


@pytest.mark.parametrize("size", [3, 8])
def test_an_impossible_receptive_field_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"odd and at least 5, got {size}"):
        PooledEncoder(receptive_field=size)


def test_an_unknown_projection_is_refused() -> None:
    with pytest.raises(ValueError, match="'pca'"):
        CPICNet(SHAPE, projection="pca")
