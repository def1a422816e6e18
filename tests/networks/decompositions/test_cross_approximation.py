"""Cross-approximation of latent fields, and its memory of index sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from gradients import gradient

from monai_cpic.data import LazyVolume, open_volume
from monai_cpic.networks import CrossApproximation, IndexStore, PatchEncoder, TTBottleneck
from monai_cpic.tensor_train import qtt_modes, tt_modes
from monai_cpic.testing import DecompositionTestCase

SHAPE = (8, 16, 16)


class TestQTT(DecompositionTestCase):
    def decomposition(self) -> CrossApproximation:
        return CrossApproximation(qtt_modes((8, 8, 4), channels=3), rank=4)


class TestPlainTT(DecompositionTestCase):
    def decomposition(self) -> CrossApproximation:
        return CrossApproximation(tt_modes((6, 5, 7), channels=2), rank=3, oversampling=1.0, passes=1)


def bottleneck(indices: IndexStore) -> TTBottleneck:
    torch.manual_seed(0)
    return TTBottleneck(PatchEncoder(n_dims=4), CrossApproximation(qtt_modes(SHAPE, 4), rank=6, indices=indices)).train()


@pytest.fixture
def stored(tmp_path: Path) -> list[LazyVolume]:
    """Volumes with keys."""
    for b in range(4):
        np.save(tmp_path / f"{b}.npy", torch.rand(1, *SHAPE, generator=torch.Generator().manual_seed(b)).numpy())
    return [open_volume(tmp_path / f"{b}.npy") for b in range(4)]


def test_training_keeps_index_sets_per_volume(stored: list[LazyVolume]) -> None:
    indices = IndexStore()
    module = bottleneck(indices)

    def side(volume: LazyVolume) -> str:
        kept = indices.get(volume.key)
        assert kept is not None
        return kept.side

    module(stored[:2])
    sides = [side(volume) for volume in stored[:2]]
    assert len(indices) == 2
    trains = module([stored[2], stored[0]]).trains  # one new, one seen: passes of both directions in one batch
    assert len(indices) == 3 and side(stored[0]) != sides[0]
    assert len(trains) == 2 and len(module.sampled) == 2
    trains.inner(trains).sum().backward()
    assert all(gradient(p).isfinite().all() for p in module.encoder.parameters())
    module([open_volume(torch.rand(1, *SHAPE))])
    assert len(indices) == 3  # a volume without a key leaves nothing behind


def test_held_coordinates_are_asked_for_again(stored: list[LazyVolume]) -> None:
    module = bottleneck(IndexStore(hold=3))
    asked = []
    for _ in range(7):
        module(stored[:2])
        asked.append([frozenset(map(tuple, points.tolist())) for points in module.sampled])
    for volume in (0, 1):
        points = [step[volume] for step in asked]
        assert points[1] == points[2] and points[3] == points[4] == points[5]  # the first step also makes its start
        assert points[1] <= points[0]
        assert len({points[2], points[5], points[6]}) == 3
