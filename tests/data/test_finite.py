"""Voxels that are NaN or infinite."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch

from monai_cpic.data import Sampling, open_volume
from monai_cpic.data.sources import FiniteSource, TensorSource

SHAPE = (2, 9, 8, 7)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    values = np.random.default_rng(0).normal(size=SHAPE).astype("<f4")
    values[1, 4, 5, 6], values[0, 2, 2, 2] = np.nan, -np.inf
    np.save(tmp_path / "scan.npy", values)
    return tmp_path / "scan.npy"


@pytest.mark.parametrize("matrix", [np.eye(4), np.diag([0.5, 0.8, 1, 1]), np.eye(4) + 0.05])
def test_refused_with_their_place(path: Path, matrix: np.ndarray) -> None:
    matrix[3] = [0, 0, 0, 1]
    volume = open_volume(path).sampled(Sampling(matrix, SHAPE[1:]))
    with pytest.raises(ValueError, match=r"scan.npy: voxel \(\d, \d, \d\) of channel \d is (nan|-inf), .*fill="):
        volume.gather(torch.tensor([[4, 4, 3]]), (9, 8, 7))


def test_the_place_is_right_and_the_rest_is_read(path: Path) -> None:
    volume = open_volume(path)
    with pytest.raises(ValueError, match=r"voxel \(4, 5, 6\) of channel 1 is nan"):
        volume.gather(torch.tensor([[1, 6, 1], [5, 6, 8]]), 3)
    assert volume.gather(torch.tensor([[7, 3, 3]]), 3).isfinite().all()


def test_filled_and_counted(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    volume = open_volume(path, fill=-1000)
    whole = torch.tensor([[4, 4, 3]])
    with caplog.at_level(logging.WARNING):
        cube = volume.gather(whole, SHAPE[1:])[0].numpy()
        volume.gather(whole, SHAPE[1:])
    values = np.load(path)
    np.testing.assert_array_equal(cube, np.where(np.isfinite(values), values, -1000))
    assert isinstance(volume.source, FiniteSource) and volume.source.filled == 4
    assert [record.message for record in caplog.records if "read as -1000" in record.message] == [
        f"{path}: voxel (2, 2, 2) of channel 0 is -inf; such voxels are read as -1000"
    ]


def test_each_channel_has_its_file_named(path: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "clean.npy", np.zeros(SHAPE, "<f4"))
    volume = open_volume([tmp_path / "clean.npy", path])
    with pytest.raises(ValueError, match=r"scan.npy: voxel \(2, 2, 2\) of channel 0"):
        volume.gather(torch.tensor([[2, 2, 2]]), 1)
    assert open_volume([tmp_path / "clean.npy", path], fill=0).gather(torch.tensor([[2, 2, 2]]), 1)[0, 2, 0, 0, 0] == 0


def test_integers_are_not_looked_at(tmp_path: Path) -> None:
    np.save(tmp_path / "scan.npy", np.zeros((1, 4, 4, 4), "<i2"))
    assert type(open_volume(tmp_path / "scan.npy").source).__name__ == "MappedSource"


@pytest.mark.parametrize("make", [np.asarray, torch.from_numpy])
def test_arrays_in_memory(path: Path, make: Callable[[np.ndarray], Any]) -> None:
    values = np.load(path)
    volume = open_volume(make(values))
    assert volume.gather(torch.tensor([[7, 3, 3]]), 3).isfinite().all()
    with pytest.raises(ValueError, match=r"the array: voxel \(4, 5, 6\) of channel 1 is nan"):
        volume.gather(torch.tensor([[4, 5, 6]]), 1)
    filled = open_volume(make(values), fill=7).gather(torch.tensor([[4, 5, 6]]), 1)
    assert filled[0, 1].item() == 7


def test_tensors_on_an_accelerator_are_looked_at_when_they_are_opened(path: Path) -> None:
    values = torch.from_numpy(np.load(path))
    source = TensorSource(values)  # any device: here the one that is at hand
    with pytest.raises(ValueError, match=r"gpu: voxel \(2, 2, 2\) of channel 0 is -inf, .*fill="):
        source.finite("gpu")
    filled = source.finite("gpu", fill=3.0)
    assert isinstance(filled, TensorSource) and torch.equal(filled.values, torch.where(values.isfinite(), values, 3.0))
    assert source.values is values and filled.finite("gpu") is filled


def test_numbers_beyond_float32(tmp_path: Path) -> None:
    values = np.ones((1, 4, 4, 4))
    values[0, 1, 2, 3] = 1e300
    np.save(tmp_path / "large.npy", values)
    with pytest.raises(ValueError, match=r"large.npy: voxel \(1, 2, 3\) of channel 0 is 1e\+300, where a finite float32"):
        open_volume(tmp_path / "large.npy").gather(torch.tensor([[2, 2, 2]]), 4)
    with pytest.raises(ValueError, match=r"large.npy: voxel \(1, 2, 3\)"):
        open_volume(tmp_path / "large.npy", cache_dir=tmp_path / "cache").coarser(2)
    image = nibabel.Nifti1Image(np.arange(64, dtype=np.int16).reshape(4, 4, 4), np.eye(4))
    image.header.set_slope_inter(1e38, 0)
    image.to_filename(tmp_path / "steep.nii")
    volume = open_volume(tmp_path / "steep.nii")
    assert volume.gather(torch.tensor([[0, 0, 3]]), 1).item() == pytest.approx(3e38)
    with pytest.raises(ValueError, match=r"steep.nii: voxel \(0, 1, 0\) of channel 0 is inf"):
        volume.gather(torch.tensor([[0, 1, 0]]), 1)


@pytest.mark.parametrize("fill", [float("nan"), float("inf"), 1e300])
def test_what_is_filled_in_is_finite(path: Path, fill: float) -> None:
    with pytest.raises(ValueError, match="must be a finite float32"):
        open_volume(path, fill=fill)


def test_half_precision_holds_what_is_filled_in() -> None:
    values = np.zeros((1, 3, 3, 3), np.float16)
    values[0, 1, 1, 1] = np.inf
    found = open_volume(values, fill=1e5).gather(torch.tensor([[1, 1, 1]]), 3)
    assert found[0, 0, 1, 1, 1] == 1e5 and found.sum() == 1e5
