"""Patches read ahead are those that the network asks for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import monai.transforms as mt
import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset
from numpy.typing import NDArray

from monai_cpic.data import LazyVolume, Source, open_volume
from monai_cpic.networks import CPICNet, CrossApproximation, IndexStore, PatchEncoder, RandomCells
from monai_cpic.tensor_train import qtt_modes
from monai_cpic.transforms import FreezeLazyVolumed, LoadLazyVolumed, ReadAheadd

SHAPE = (16, 16, 8)


@pytest.fixture
def scans(tmp_path: Path) -> list[dict[str, str]]:
    for number in range(3):
        np.save(tmp_path / f"{number}.npy", np.random.default_rng(number).random((1, 14, 16, 8), np.float32))
    return [{"image": str(tmp_path / f"{number}.npy")} for number in range(3)]


def pipeline(network: CPICNet, ahead: bool = True) -> mt.Compose:
    steps = [LoadLazyVolumed("image"), mt.Flipd("image", 0), FreezeLazyVolumed("image")]
    if ahead:
        steps.append(ReadAheadd("image", network.bottleneck.decomposition, network.encoder.receptive_field))
    return mt.Compose(steps, lazy=True)


def network(indices: IndexStore) -> CPICNet:
    torch.manual_seed(0)
    encoder = PatchEncoder(n_dims=3)
    return CPICNet(encoder=encoder, decomposition=CrossApproximation(qtt_modes(SHAPE, 3), rank=4, indices=indices)).train()


@dataclass(frozen=True)
class CountingSource(Source):
    """Counts how often voxels are read."""

    source: Source
    reads: list[int] = field(default_factory=list, compare=False)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.source.shape

    @property
    def dtype(self) -> np.dtype:
        return self.source.dtype

    def points(self, indices: Sequence[NDArray[Any]]) -> NDArray[Any]:
        self.reads.append(len(indices[0]))
        return self.source.points(indices)


def patches_read(volume: LazyVolume, centres: torch.Tensor, size: int) -> int:
    """How many patches a handle with patches in it reads from its source to give these."""
    counting = CountingSource(volume.source)
    replace(volume, source=counting).gather(centres, size)
    return sum(counting.reads)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_step_that_is_held_finds_its_patches_read(tmp_path: Path, scans: list[dict[str, str]], workers: int) -> None:
    net = network(IndexStore(2, tmp_path / "indices"))
    loader = DataLoader(Dataset(scans, pipeline(net)), batch_size=3, num_workers=workers)
    for step in range(4):
        volumes = next(iter(loader))["image"]
        planned = [net.bottleneck.decomposition.planned(volume) for volume in volumes]
        net.bottleneck(volumes)
        for volume, points, sampled in zip(volumes, planned, net.bottleneck.sampled, strict=True):
            if step % 2:
                assert points is not None and torch.equal(points, sampled)
                assert patches_read(volume, sampled, net.encoder.receptive_field) == 0
            else:
                assert points is None and patches_read(volume, sampled, net.encoder.receptive_field) > 0


def test_the_step_is_the_same_with_and_without(tmp_path: Path, scans: list[dict[str, str]]) -> None:
    results = []
    for ahead in (False, True):
        net = network(IndexStore(2, tmp_path / f"indices{ahead}"))
        load = pipeline(net, ahead)
        for _ in range(2):
            torch.manual_seed(1)
            field = net.bottleneck([load(scan)["image"] for scan in scans])
        results.append(field.trains.to_dense())
    torch.testing.assert_close(*results)


def test_a_handle_ahead_reads_what_is_missing() -> None:
    volume = open_volume(torch.rand(2, 9, 8, 7))
    known = torch.tensor([[4, 4, 4], [0, 7, 6], [11, 3, 2]])
    centres = torch.cat([known.flip(0), torch.tensor([[1, 1, 1], [-2, 4, 4], [4, 12, 4]]), known[:1]])
    ahead = volume.prefetched(known, 3)
    assert torch.equal(ahead.gather(centres, 3), volume.gather(centres, 3))
    assert torch.equal(ahead.gather(centres, 5), volume.gather(centres, 5))
    assert ahead.gather(centres, 3, dtype=torch.float64).dtype == torch.float64
    assert ahead.scaled(lambda patches: patches).read is None  # they would be of other values


def test_what_is_not_frozen_is_refused() -> None:
    with pytest.raises(TypeError, match="after FreezeLazyVolumed"):
        ReadAheadd("image", RandomCells(SHAPE, 3), 9)({"image": torch.zeros(1)})
