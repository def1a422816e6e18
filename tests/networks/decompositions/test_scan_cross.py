"""Scan, seed, cross: what is small is found from what the scan saw of it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
import torch
from numpy import exp, sqrt
from numpy.typing import NDArray

from monai_cpic.data import open_function, open_volume
from monai_cpic.networks import LatentField, RandomCells, ScanCross, TTBottleneck, VoxelEncoder
from monai_cpic.networks.decompositions.random_cells import points_in_cells
from monai_cpic.networks.grid import finite_patches
from monai_cpic.tensor_train import qtt_modes, tt_modes
from monai_cpic.testing import DecompositionTestCase

EDGE, RADIUS = 128, 4
CENTRE = (37, 90, 61)


class TestQTT(DecompositionTestCase):
    def decomposition(self) -> ScanCross:
        return ScanCross(qtt_modes((8, 8, 4), channels=3), rank=4, cells=16)


class TestWithGradient(DecompositionTestCase):
    def decomposition(self) -> ScanCross:
        return ScanCross(qtt_modes((8, 6), channels=2), rank=3, cells=8, gradient=True)

    def test_tensor_trains_have_a_gradient_if_it_is_asked_for(self) -> None:
        for decomposition in (self.decomposition(), TestQTT().decomposition()):
            weights = torch.ones(1, decomposition.n_dims).requires_grad_()
            found = decomposition(self.field(decomposition, self.volumes(decomposition), weights), 1)
            assert all(core.requires_grad == decomposition.gradient for core in found.trains)
            assert all(part.requires_grad for part in (found.means, found.maxima, *found.scan))


class TestPlainTT(DecompositionTestCase):
    def decomposition(self) -> ScanCross:
        return ScanCross(tt_modes((6, 5, 7), channels=2), rank=3, cells=8, passes=1)


def distance(*indices: NDArray[Any]) -> NDArray[Any]:
    return sqrt(sum((index - centre) ** 2 for index, centre in zip(indices, CENTRE, strict=True)))


def ball(*indices: NDArray[Any]) -> NDArray[Any]:
    """A ball that shows some way around it."""
    return 1 / (1 + exp((distance(*indices) - RADIUS) / 12))


def share_inside(points: torch.Tensor) -> float:
    return float((distance(*points.T.numpy()) < RADIUS).mean())


def test_a_small_ball_is_found_that_random_cells_miss() -> None:
    volume = open_function(ball, (1, EDGE, EDGE, EDGE))
    modes = qtt_modes((EDGE,) * 3)
    found = {}
    for decomposition in (ScanCross(modes, rank=4, cells=256), RandomCells((EDGE,) * 3, 1, cells=512)):
        bottleneck = TTBottleneck(VoxelEncoder(1), decomposition).eval()
        bottleneck([volume])
        found[type(decomposition)] = share_inside(bottleneck.sampled[0])
    assert found[ScanCross] > 0.01 and found[RandomCells] < 0.001


def test_seeds_are_the_largest_values_of_each_channel_the_largest_channel_first() -> None:
    decomposition = ScanCross(qtt_modes((8, 8, 4), channels=3), rank=4, cells=16)
    points = torch.arange(16).reshape(1, 16, 1).expand(1, 16, 3)
    vectors = torch.zeros(1, 16, 3)
    vectors[0, 5, 0], vectors[0, 9, 1], vectors[0, 2, 2] = 1.0, 3.0, 2.0
    assert decomposition._seeds(points, vectors).tolist() == [[[9, 9, 9, 1], [2, 2, 2, 2], [5, 5, 5, 0]]]


def test_scan_and_cross_share_what_is_encoded() -> None:
    volumes = [open_volume(torch.rand(1, 16, 16, 8)) for _ in range(2)]
    encoded: list[int] = []

    def field() -> LatentField:
        def encode(patches: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
            encoded.append(len(patches))
            return patches.flatten(1) * weights

        return LatentField(volumes, (16, 16, 8), partial(finite_patches, size=1), encode)

    weights = torch.ones(1, 4).requires_grad_()
    decomposition = ScanCross(qtt_modes((16, 16, 8), channels=4), rank=4, cells=64)
    with torch.no_grad():
        evaluated = field()
        decomposition(evaluated, None)
    assert sum(encoded) == sum(map(len, evaluated.sampled()))  # every point once

    encoded.clear()
    trained = field()
    decomposition(trained, 3)
    scanned = set(map(tuple, (points_in_cells(decomposition.cells, 3) * torch.tensor([16, 16, 8])).long().tolist()))
    both: Sequence[torch.Tensor] = trained.sampled()
    assert all(scanned <= set(map(tuple, points.tolist())) for points in both)
    assert sum(encoded) < 2 * sum(map(len, both))  # once without a graph, and those of the last sweep once with one


def test_training_scans_other_points_in_every_step_and_evaluation_the_same() -> None:
    volume = open_volume(torch.rand(1, 16, 16, 8))
    decomposition = ScanCross(qtt_modes((16, 16, 8), channels=1), rank=3, cells=64)
    bottleneck = TTBottleneck(VoxelEncoder(1), decomposition)
    steps = []
    for training in (True, True, False, False):
        bottleneck.train(training)([volume])
        steps.append(bottleneck.sampled[0])
    assert not torch.equal(steps[0], steps[1]) and torch.equal(steps[2], steps[3])


def test_evaluation_scans_a_finer_partition_and_gives_the_means_of_the_cells() -> None:
    shape, decomposition = (16, 16, 8), ScanCross(qtt_modes((16, 16, 8), channels=1), rank=3, cells=64)
    volume = open_volume(torch.rand(1, *shape))
    with torch.no_grad():
        bottleneck = TTBottleneck(VoxelEncoder(1), decomposition).eval()
        found = bottleneck([volume])
    points = (points_in_cells(decomposition.parts, 0) * torch.tensor(shape)).long()
    assert len(points) == 128
    values = volume.gather(points, 1)[:, 0, 0, 0, 0].double()
    cells = (points * torch.tensor(decomposition.cells)) // torch.tensor(shape)
    flat = torch.tensor([cells[:, 0].max() + 1, cells[:, 1].max() + 1, cells[:, 2].max() + 1])
    assert flat.tolist() == decomposition.cells
    number = (cells[:, 0] * decomposition.cells[1] + cells[:, 1]) * decomposition.cells[2] + cells[:, 2]
    means = torch.zeros(64).double().index_add(0, number, values) / 2
    scan = found.scan.cores[0].flatten()
    standard = (scan - scan.mean()) / scan.std()
    torch.testing.assert_close(standard, (means - means.mean()) / means.std())
    torch.testing.assert_close(found.means[0, 0], scan.mean())


def test_wrong_sizes() -> None:
    modes = qtt_modes((8, 8, 4))
    with pytest.raises(ValueError, match="one cell, got 0"):
        ScanCross(modes, cells=0)
    with pytest.raises(ValueError, match="rank must be at least 1, got 0"):
        ScanCross(modes, rank=0)
