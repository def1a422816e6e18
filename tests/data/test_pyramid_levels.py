"""Where levels of a pyramid are kept, and volumes that are too large for them."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import pickle
import signal
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from pyramid_checks import check, two_channels
from torch import Tensor

from monai_cpic.data import LazyVolume, Source, open_function, open_volume, sources
from monai_cpic.data.cache import limit as cache_limit
from monai_cpic.data.pyramid import averaging, levels
from monai_cpic.data.sources import FiniteSource

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return two_channels(tmp_path)


@pytest.fixture
def averaged(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The factors of every level that is averaged from now on."""
    made: list[tuple[int, ...]] = []

    def counted(source: Source, factors: tuple[int, ...], *arguments: Any) -> Any:
        made.append(tuple(factors))
        return averaging.slabs(source, factors, *arguments)

    monkeypatch.setattr(levels, "slabs", counted)
    return made


def far(volume: LazyVolume) -> Tensor:
    return volume.gather(torch.tensor([[8, 8, 8]]), 3, steps=(2, 4))


def test_arrays_keep_their_levels(averaged: list[tuple[int, ...]]) -> None:
    volume = open_volume(torch.rand(1, 16, 16, 16))
    expected = far(volume)
    for again in (volume, volume.scaled(torch.abs), pickle.loads(pickle.dumps(volume))):
        assert torch.equal(far(again), expected)
    assert averaged == [(2, 2, 2), (4, 4, 4)]


def test_tensors_on_an_accelerator_keep_theirs_there() -> None:
    values = torch.randint(-1000, 1000, (2, 70, 9, 7), dtype=torch.int16)
    source = sources.TensorSource(values, scaling=(2, 1))  # any device: here the one that is at hand
    volume = LazyVolume(source, torch.eye(4, dtype=torch.float64))
    check(volume, values.double() * 2 + 1)
    level = source.level((4, 4, 4))
    assert isinstance(level, sources.TensorSource)
    assert level is source.level((4, 4, 4))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_tensors_on_a_gpu() -> None:
    values = torch.randint(-1000, 1000, (2, 70, 40, 30), dtype=torch.int16)
    volume = open_volume(values.cuda())
    check(volume, values.double())
    level = volume.source.level((4, 4, 4))
    assert isinstance(level, sources.TensorSource)
    assert level.values.is_cuda


def test_files_are_averaged_once(path: Path, cache: Path, averaged: list[tuple[int, ...]]) -> None:
    expected = far(open_volume(path))
    assert len(list(cache.iterdir())) == 2
    assert torch.equal(far(open_volume(path)), expected)
    assert torch.equal(far(pickle.loads(pickle.dumps(open_volume(path)))), expected)
    assert averaged == [(2, 2, 2), (4, 4, 4)]
    assert len(pickle.dumps(open_volume(path))) < 4000


def test_averaging_takes_memory_for_a_part_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "scan.npy", np.zeros((1, 256, 256, 256), np.int16))
    monkeypatch.setattr(averaging, "PART", 2**18)
    tracemalloc.start()
    far(open_volume(tmp_path / "scan.npy"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * 2**20  # of 32


def test_a_file_that_changes_is_averaged_again(path: Path) -> None:
    before = far(open_volume(path))
    np.save(path, np.load(path) + 7)
    os.utime(path, (1, 1))
    torch.testing.assert_close(far(open_volume(path)), before + 7)


def test_files_of_a_named_cache(tmp_path: Path, cache: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(np.zeros((9, 9, 9), np.int16), np.eye(4)), tmp_path / "scan.nii")
    nibabel.save(nibabel.Nifti1Image(np.zeros((9, 9, 9), np.int16), np.eye(4)), tmp_path / "scan.nii.gz")
    for name, folders in (("scan.nii", 2), ("scan.nii.gz", 3)):
        far(open_volume(tmp_path / name, cache_dir=tmp_path / name[5:]))
        assert len(list((tmp_path / name[5:]).iterdir())) == folders
    assert not cache.exists()


def test_averaging_that_fails_leaves_nothing(path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(*arguments: Any) -> Any:
        yield from itertools.islice(averaging.slabs(*arguments), 1)
        raise RuntimeError("in the middle")

    monkeypatch.setattr(averaging, "PART", 1000)
    with monkeypatch.context() as broken:
        broken.setattr(levels, "slabs", half)
        with pytest.raises(RuntimeError, match="in the middle"):
            far(open_volume(path))
    assert not list(cache.iterdir())
    check(open_volume(path), torch.from_numpy(np.load(path)))


def _killed(path: Path) -> None:
    slabs = averaging.slabs

    def stop(*arguments: Any) -> Any:
        yield from itertools.islice(slabs(*arguments), 1)
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(averaging, "PART", 1000)
        patch.setattr(levels, "slabs", stop)
        far(open_volume(path))


def in_a_fork(function: Callable[..., None], *arguments: Any) -> int | None:
    process = multiprocessing.get_context("fork").Process(target=function, args=arguments)
    process.start()
    process.join(30)
    return process.exitcode


def test_averaging_that_is_killed_leaves_no_level(path: Path, cache: Path) -> None:
    assert in_a_fork(_killed, path) == -signal.SIGKILL
    assert all(folder.name.startswith(".unfinished") for folder in cache.iterdir())
    check(open_volume(path), torch.from_numpy(np.load(path)))


def _only_reads(path: Path, expected: Tensor) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(levels, "slabs", None)
        assert torch.equal(far(open_volume(path)), expected)


def _reads_the_same(volume: LazyVolume, expected: Tensor) -> None:
    assert torch.equal(far(volume), expected)


def test_processes_share_levels(path: Path) -> None:
    volume = open_volume(path)
    expected = far(volume)
    assert in_a_fork(_only_reads, path, expected) == 0
    assert in_a_fork(_reads_the_same, volume, expected) == 0


def test_a_cache_too_small_for_the_pyramid(path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    level = 4 * 2 * 10 * 12 * 7  # bytes of step 2
    runs: dict[tuple[Path, int], Any] = {}
    monkeypatch.setattr(cache_limit, "_runs", runs)
    monkeypatch.setenv("MONAI_CPIC_CACHE_LIMIT", str((level + 100) / 2**30))
    volume = open_volume(path)
    volume.gather(torch.tensor([[8, 8, 8]]), 3, steps=(2,))
    with pytest.raises(OSError, match=r"the cache is full: .* exceed MONAI_CPIC_CACHE_LIMIT"):
        far(volume)
    assert len([folder for folder in cache.iterdir() if folder.is_dir()]) == 1
    for run in runs.values():
        run.close()


def test_a_full_disk(path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: Any) -> Any:
        raise OSError(28, "No space left on device")
        yield

    monkeypatch.setattr(levels, "slabs", full)
    with pytest.raises(OSError, match=r"scan.npy: the disk of the cache folder is full"):
        far(open_volume(path))


def test_voxels_that_are_not_finite(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((1, 16, 16, 16), np.float32)
    values[0, 3, 4, 5] = np.nan
    np.save(tmp_path / "scan.npy", values)
    with pytest.raises(ValueError, match=r"scan.npy: voxel \(3, 4, 5\) of channel 0 is nan"):
        far(open_volume(tmp_path / "scan.npy"))
    for fill in (-1.0, 2.0):
        volume = open_volume(tmp_path / "scan.npy", fill=fill)
        check(volume, torch.from_numpy(values).nan_to_num(nan=fill))
        assert isinstance(volume.source, FiniteSource)


def test_channels_are_averaged_each(path: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "other.npy", np.random.default_rng(1).random((1, 19, 24, 14)).astype(np.float32))
    volume = open_volume([path, tmp_path / "other.npy"])
    check(volume, torch.from_numpy(np.concatenate([np.load(path), np.load(tmp_path / "other.npy")])))


def ramp(x: Any, y: Any, z: Any) -> Any:
    """Of arrays or of numbers."""
    return x + 10.0 * y + 100.0 * z


def test_functions_are_asked_at_the_centres() -> None:
    volume = open_function(ramp, (1, 8192, 8192, 8190))
    patch = volume.gather(torch.tensor([[160, 33, 8189]]), (3, 1, 2), steps=(1, 16))[0]
    assert patch[0].flatten().tolist() == [ramp(x, 33, z) for x in (159, 160, 161) for z in (8188, 8189)]
    assert patch[1].flatten().tolist() == [ramp(x, 40, z) for x in (152, 168, 184) for z in (8168, 8184)]


def test_a_sparse_file_is_not_read_whole(tmp_path: Path, cache: Path) -> None:
    edge = 8192
    header = np.lib.format.header_data_from_array_1_0(np.empty(0, np.int16)) | {"shape": (1, edge, edge, edge)}
    with (tmp_path / "sparse.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        first = file.tell()
        file.truncate(first + 2 * edge**3)
        file.seek(first + 2 * ((16 * 100 + 8) * edge**2 + (16 * 200 + 8) * edge + 16 * 300 + 8))
        file.write(np.int16(77).tobytes())
    patch = open_volume(tmp_path / "sparse.npy").gather(torch.tensor([[1600, 3200, 4800]]), 3, steps=(1, 16))[0]
    assert patch[1, 1, 1, 1] == 77
    assert patch.count_nonzero() == 1
    assert not cache.exists()


def test_the_limit_is_a_number_of_voxels(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(levels, "AVERAGED", 2 * 19 * 24 * 14 - 1)
    values = np.load(path)
    far = torch.from_numpy(values[:, 8::16, 8::16, 8::16].astype(np.float32))
    for volume in (open_volume(path), open_volume(values)):
        assert torch.equal(volume.gather(torch.tensor([[8, 8, 8]]), (1, 1, 1), steps=(16,))[0], far[:, :1, :1, :1])
