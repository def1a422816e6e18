"""Lazy pipelines in MONAI's data sets and loaders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import monai.transforms as mt
import nibabel
import numpy as np
import pytest
import torch
from dense import KEY
from monai.data import CacheDataset, DataLoader, Dataset, PersistentDataset, ThreadDataLoader, decollate_batch

from monai_cpic.data import LazyVolume
from monai_cpic.testing.dense import dense_patches, points_around
from monai_cpic.transforms import FreezeLazyVolumed, LoadLazyVolumed, ScaleIntensityRangeLazyd

SPATIAL: list[Callable[[], Any]] = [
    lambda: mt.Spacingd(KEY, (2, 2, 2)),
    lambda: mt.RandFlipd(KEY, 0.5, 0),
    lambda: mt.RandAffined(KEY, prob=1.0, rotate_range=0.3, translate_range=2),
]


@pytest.fixture
def items(tmp_path: Path) -> list[dict[str, Any]]:
    """Four scans of one shape."""
    result = []
    for number in range(4):
        values = np.random.default_rng(number).integers(0, 100, (12, 11, 10)).astype(np.int16) + 1000 * number
        nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / f"{number}.nii.gz")
        result.append({KEY: str(tmp_path / f"{number}.nii.gz"), "label": number})
    return result


@pytest.fixture
def pipeline(tmp_path: Path) -> mt.Compose:
    """With random spatial transforms."""
    load = LoadLazyVolumed(KEY, cache_dir=tmp_path / "cache")
    lazy = [
        load,
        *(build() for build in SPATIAL),
        FreezeLazyVolumed(KEY),
        ScaleIntensityRangeLazyd(KEY, 0, 1000, 0, 1, clip=False),
    ]
    return mt.Compose(lazy, lazy=True)


DATA_SETS: dict[str, Callable[..., Dataset]] = {
    "Dataset": lambda items, pipeline, folder: Dataset(items, pipeline),
    "CacheDataset": lambda items, pipeline, folder: CacheDataset(items, pipeline, progress=False),
    "PersistentDataset": lambda items, pipeline, folder: PersistentDataset(items, pipeline, folder / "persistent"),
}


def level(volume: LazyVolume) -> int:
    """The thousands of the voxels in the middle: the number of the scan."""
    return int(volume.gather(torch.tensor([[3, 3, 2]]), 1).item())


@pytest.mark.parametrize("name", DATA_SETS)
def test_random_transforms_are_those_of_the_dense_pipeline(
    name: str, items: list[dict[str, Any]], pipeline: mt.Compose, tmp_path: Path
) -> None:
    dataset = DATA_SETS[name](items, pipeline, tmp_path)
    load = mt.LoadImaged(KEY, image_only=True, ensure_channel_first=True)
    scale = mt.ScaleIntensityRanged(KEY, 0, 1000, 0, 1, clip=False)
    dense = mt.Compose(
        [load, *(build() for build in SPATIAL), scale], lazy=True, overrides={KEY: {"mode": "bilinear", "padding_mode": "border"}}
    )
    for epoch in range(3):
        pipeline.set_random_state(epoch)
        dense.set_random_state(epoch)
        for number, item in enumerate(items):
            volume, expected = dataset[number][KEY], dense(item)[KEY]
            centres = points_around(volume.shape)
            torch.testing.assert_close(
                volume.gather(centres, 3), dense_patches(expected.as_tensor(), centres, (3, 3, 3)), atol=1e-4, rtol=0
            )


LOADERS = [*((name, workers) for name in DATA_SETS for workers in (0, "fork")), ("PersistentDataset", "spawn")]


@pytest.mark.parametrize(("name", "workers"), LOADERS)
def test_loaders(name: str, workers: int | str, items: list[dict[str, Any]], pipeline: mt.Compose, tmp_path: Path) -> None:
    dataset = DATA_SETS[name](items, pipeline, tmp_path)
    options: dict[str, Any] = {"num_workers": 2, "multiprocessing_context": workers} if workers else {}
    for _ in range(1 if workers == "spawn" else 2):
        numbers = []
        for batch in DataLoader(dataset, batch_size=2, **options):
            assert [level(volume) for volume in batch[KEY]] == batch["label"].tolist()
            for item, label in zip(decollate_batch(batch), batch["label"].tolist(), strict=True):
                assert level(item[KEY]) == item["label"] == label
            numbers += batch["label"].tolist()
        assert numbers == [0, 1, 2, 3]


def test_thread_loader(items: list[dict[str, Any]], pipeline: mt.Compose, tmp_path: Path) -> None:
    dataset = DATA_SETS["CacheDataset"](items, pipeline, tmp_path)
    numbers = []
    for batch in ThreadDataLoader(dataset, batch_size=2, num_workers=0):
        assert [level(volume) for volume in batch[KEY]] == batch["label"].tolist()
        numbers += batch["label"].tolist()
    assert numbers == [0, 1, 2, 3]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="pinned memory needs CUDA")
def test_pinned_memory(items: list[dict[str, Any]], pipeline: mt.Compose, tmp_path: Path) -> None:
    numbers = []
    for batch in DataLoader(Dataset(items, pipeline), batch_size=2, pin_memory=True):
        assert batch["label"].is_pinned()
        assert [level(volume) for volume in batch[KEY]] == batch["label"].tolist()
        numbers += batch["label"].tolist()
    assert numbers == [0, 1, 2, 3]
