"""Equal identities belong to equal values."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from monai.transforms import ScaleIntensityRange

from monai_cpic.data import ArraySource, LazyVolume, Sampling, Source, open_volume
from monai_cpic.data.sources import TensorSource

FLIP = np.diag([-1.0, 1, 1, 1]) + np.eye(4, k=3) * 7
CHANGES: dict[str, Callable[[LazyVolume], LazyVolume]] = {
    "grid": lambda volume: volume.sampled(Sampling(FLIP, (8, 8, 8))),
    "larger grid": lambda volume: volume.sampled(Sampling(np.eye(4), (8, 8, 9))),
    "interpolation": lambda volume: volume.sampled(Sampling(np.eye(4), (8, 8, 8), mode="nearest")),
    "padding": lambda volume: volume.sampled(Sampling(np.eye(4), (8, 8, 8), padding_mode="zeros")),
    "intensities": lambda volume: volume.scaled(ScaleIntensityRange(0, 1, 0, 2)),
    "other intensities": lambda volume: volume.scaled(ScaleIntensityRange(0, 1, 0, 3)),
    "mask": lambda volume: volume.masked(volume),
    "other mask": lambda volume: volume.masked(volume.scaled(ScaleIntensityRange(0, 1, -1, 1))),
    "key": lambda volume: replace(volume, key="another"),
    "spacing": lambda volume: replace(volume, affine=volume.affine @ torch.diag(volume.affine.new_tensor([2, 2, 2, 1]))),
    "source": lambda volume: replace(volume, source=replace(volume.source, scaling=(2.0, 0.0))),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return written(tmp_path / "scan.nii", 0)


def written(path: Path, seed: int) -> Path:
    values = np.random.default_rng(seed).integers(0, 9, (8, 8, 8), np.int16)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), path)
    return path


def test_whatever_changes_the_values_changes_the_identity(path: Path) -> None:
    plain = open_volume(path)
    found = {name: change(plain).identity for name, change in CHANGES.items()}
    every = {plain.identity, *found.values()}
    assert None not in every and len(every) == len(found) + 1
    for name, change in CHANGES.items():
        again = change(open_volume(path))
        assert again.identity == found[name] == pickle.loads(pickle.dumps(again)).identity


def test_a_file_that_is_written_again_is_another(path: Path) -> None:
    before = open_volume(path).identity
    assert open_volume(written(path, 1)).identity != before
    assert open_volume(path).to("cpu").identity != open_volume(written(path, 2)).to("cpu").identity


def test_what_is_read_has_no_part_in_it(path: Path) -> None:
    volume = open_volume(path)
    before = volume.identity
    volume.gather(torch.zeros(1, 3, dtype=torch.int64), 3, steps=(1, 4))
    assert open_volume(path).identity == volume.prefetched(torch.zeros(1, 3, dtype=torch.int64), 3).identity == before


def test_a_scan_or_a_mask_without_a_key_has_none(path: Path) -> None:
    array = open_volume(np.zeros((1, 8, 8, 8), np.int16))
    assert array.identity is None
    assert open_volume(path).masked(array).identity is None


@pytest.mark.parametrize("source", [lambda values: ArraySource(values), lambda values: TensorSource(torch.from_numpy(values))])
def test_voxels_in_memory_are_told_apart_beyond_their_border(source: Callable[[np.ndarray], Source]) -> None:
    """As those of a reader of one's own; numpy prints the outermost voxels only."""
    affine = torch.eye(4, dtype=torch.float64)
    corrected = np.zeros((1, 20, 20, 20), np.float32)
    corrected[0, 10, 10, 10] = 1
    one, same, other = (LazyVolume(source(v), affine, "scan") for v in (0 * corrected, 0 * corrected, corrected))
    assert one.identity == same.identity != other.identity
