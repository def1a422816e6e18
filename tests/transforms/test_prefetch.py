"""ReadPatches read ahead are those that the network asks for."""

from __future__ import annotations

from pathlib import Path

import monai.transforms as mt
import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset

from monai_cpic.data import open_volume
from monai_cpic.data.gather.read_patches import ReadPatches
from monai_cpic.networks import CPICNet, IndexStore
from monai_cpic.transforms import CrossPatchSamplerd, FreezeLazyVolumed, LoadLazyVolumed

SHAPE = (16, 16, 8)


@pytest.fixture
def scans(tmp_path: Path) -> list[dict[str, str]]:
    for number in range(3):
        np.save(tmp_path / f"{number}.npy", np.random.default_rng(number).random((1, 14, 16, 8), np.float32))
    return [{"image": str(tmp_path / f"{number}.npy")} for number in range(3)]


def pipeline(indices: IndexStore) -> mt.Compose:
    return mt.Compose(
        [
            LoadLazyVolumed("image"),
            mt.Flipd("image", 0),
            FreezeLazyVolumed("image"),
            CrossPatchSamplerd("image", indices, SHAPE, n_dims=3),
        ],
        lazy=True,
    )


def network(indices: IndexStore) -> CPICNet:
    torch.manual_seed(0)
    return CPICNet(SHAPE, n_dims=3, rank=4, indices=indices).train()


@pytest.mark.parametrize("workers", [0, 2])
def test_all_cubes_of_a_held_step_are_read_ahead(
    tmp_path: Path, scans: list[dict[str, str]], workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, read_ahead = [], []
    find = ReadPatches.find

    def counting(self: ReadPatches, centres: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        found, places = find(self, centres)
        asked.append(len(centres))
        read_ahead.append(int(found.sum()))
        return found, places

    monkeypatch.setattr(ReadPatches, "find", counting)
    indices = IndexStore(2, tmp_path / "indices")
    net = network(indices)
    loader = DataLoader(Dataset(scans, pipeline(indices)), batch_size=3, num_workers=workers)
    for step in range(4):
        volumes = next(iter(loader))["image"]
        assert all((volume.read is not None) == (step % 2 == 1) for volume in volumes)
        asked.clear(), read_ahead.clear()
        net.bottleneck(volumes)
        if step % 2:
            assert sum(asked) - sum(read_ahead) <= 300  # of the running statistics, 100 random points for each volume
            assert sum(read_ahead) >= sum(len(volume.read.centres) for volume in volumes)


def test_the_step_is_the_same_with_and_without(tmp_path: Path, scans: list[dict[str, str]]) -> None:
    results = []
    for ahead in (False, True):
        indices = IndexStore(2, tmp_path / f"indices{ahead}")
        net = network(indices)
        steps = pipeline(indices).transforms if ahead else pipeline(indices).transforms[:-1]
        for _ in range(2):
            torch.manual_seed(1)
            volumes = [mt.Compose(steps, lazy=True)(scan)["image"] for scan in scans]
            trains = net.bottleneck(volumes)
        results.append(trains.to_dense())
    torch.testing.assert_close(*results)


def test_a_handle_with_cubes_reads_what_is_missing() -> None:
    volume = open_volume(torch.rand(2, 9, 8, 7))
    known = torch.tensor([[4, 4, 4], [0, 7, 6], [11, 3, 2]])
    centres = torch.cat([known.flip(0), torch.tensor([[1, 1, 1], [-2, 4, 4], [4, 12, 4]]), known[:1]])
    with_cubes = volume.prefetched(known, 3)
    assert torch.equal(with_cubes.gather(centres, 3), volume.gather(centres, 3))
    assert torch.equal(with_cubes.gather(centres, 5), volume.gather(centres, 5))
    assert with_cubes.gather(centres, 3, torch.float64).dtype == torch.float64
    assert with_cubes.scaled(lambda patches: patches).read is None  # they would be of other values


def test_wrong_use(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="in a folder"):
        CrossPatchSamplerd("image", IndexStore(2), SHAPE)
    with pytest.raises(ValueError, match="tensorization"):
        CrossPatchSamplerd("image", IndexStore(2, tmp_path), SHAPE, tensorization="tucker")
    with pytest.raises(TypeError, match="sample after FreezeLazyVolumed"):
        CrossPatchSamplerd("image", IndexStore(2, tmp_path), SHAPE)({"image": torch.zeros(1)})
