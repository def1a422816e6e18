"""Files that change: what is read, averaged and estimated is of the version that was opened, or an error."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import nibabel
import numpy as np
import pytest
import SimpleITK
import torch
import zarr
from ome_zarr import VALUES, whole, write

from monai_cpic.data import open_volume
from monai_cpic.data.gather import indexing
from monai_cpic.transforms import NormalizeIntensityLazyd

SHAPE = (1, 6, 7, 8)


pytestmark = pytest.mark.usefixtures("cache")

# ---- one writer for each kind of file, which overwrites it with another value -------------------------------------------------


def npy(folder: Path, value: int) -> Path:
    np.save(folder / "scan.npy", np.full(SHAPE, value, "<i2"))
    return folder / "scan.npy"


def nii(folder: Path, value: int) -> Path:
    nibabel.save(nibabel.Nifti1Image(np.full(SHAPE[1:], value, "<i2"), np.eye(4)), folder / "scan.nii")
    return folder / "scan.nii"


def nii_gz(folder: Path, value: int) -> Path:
    return Path(nii(folder, value)) and Path(shutil.move(_packed(folder, value), folder / "scan.nii.gz"))


def _packed(folder: Path, value: int) -> Path:
    nibabel.save(nibabel.Nifti1Image(np.full(SHAPE[1:], value, "<i2"), np.eye(4)), folder / "new.nii.gz")
    return folder / "new.nii.gz"


def dicom(folder: Path, value: int) -> Path:
    (folder / "scan").mkdir(exist_ok=True)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(np.full((8, 8), value, np.int16)), str(folder / "scan" / "1.dcm"))
    return folder / "scan"


def mhd(folder: Path, value: int) -> Path:
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(np.full(SHAPE[1:], value, np.int16)), str(folder / "scan.mhd"))
    return folder / "scan.mhd"


def nhdr(folder: Path, value: int) -> Path:
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(np.full(SHAPE[1:], value, np.int16)), str(folder / "scan.nhdr"))
    return folder / "scan.nhdr"


def _slices(folder: Path, value: int) -> list[str]:
    """Files of one slice each."""
    names = [f"{number:02}.raw" for number in range(SHAPE[1])]
    for name in names:
        np.full(SHAPE[2:], value, "<i2").tofile(folder / name)
    return names


def mhd_list(folder: Path, value: int) -> Path:
    """Only the slices are written again, not the header."""
    size = " ".join(map(str, SHAPE[:0:-1]))
    lines = ["ObjectType = Image", "NDims = 3", f"DimSize = {size}", "ElementType = MET_SHORT", "ElementDataFile = LIST"]
    if not (folder / "scan.mhd").exists():
        (folder / "scan.mhd").write_text("\n".join([*lines, *_slices(folder, value)]) + "\n")
    _slices(folder, value)
    return folder / "scan.mhd"


def nhdr_pattern(folder: Path, value: int) -> Path:
    """Likewise."""
    size, last = " ".join(map(str, SHAPE[:0:-1])), SHAPE[1] - 1
    lines = ["NRRD0004", "type: short", "dimension: 3", f"sizes: {size}", "endian: little", "encoding: raw"]
    if not (folder / "scan.nhdr").exists():
        (folder / "scan.nhdr").write_text("\n".join([*lines, f"Data File: %02d.raw 0 {last} 1"]) + "\n")
    _slices(folder, value)
    return folder / "scan.nhdr"


def ome_zarr(folder: Path, value: int) -> Path:
    """Only the chunks are written again, not the metadata."""
    if not (folder / "scan.zarr").exists():
        write(str(folder / "scan.zarr"), np.zeros(SHAPE, "<i2"), levels=1)
    array: Any = zarr.open_group(str(folder / "scan.zarr"), mode="r+")["0"]
    array[...] = np.full(SHAPE, value, "<i2")
    return folder / "scan.zarr"


Writer = Callable[[Path, int], Path]
KINDS = [npy, nii, nii_gz, dicom, mhd, nhdr, mhd_list, nhdr_pattern, ome_zarr]


def middle(path: Path) -> float:
    return open_volume(path).gather(torch.tensor([[3, 3, 0]]), 1).item()


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_opened_again_has_the_new_voxels(tmp_path: Path, kind: Writer) -> None:
    for value in (10, 20, 30):
        assert middle(kind(tmp_path, value)) == value


@pytest.mark.parametrize("kind", KINDS)
def test_levels_are_averaged_again(tmp_path: Path, kind: Writer) -> None:
    for value in (10, 20, 30):
        volume = open_volume(kind(tmp_path, value))
        assert volume.gather(torch.tensor([[3, 3, 0]]), 1, steps=(2,)).item() == value


@pytest.mark.parametrize("kind", KINDS)
def test_statistics_are_estimated_again(tmp_path: Path, kind: Writer) -> None:
    for value in (10, 20, 30):
        volume = NormalizeIntensityLazyd("image", divisor=1.0)({"image": open_volume(kind(tmp_path, value))})["image"]
        assert volume.gather(torch.tensor([[3, 3, 0]]), 1).item() == 0


@pytest.mark.parametrize("kind", KINDS)
def test_what_has_not_changed_is_kept(tmp_path: Path, kind: Writer, cache: Path) -> None:
    path = kind(tmp_path, 10)
    found = []
    for _ in range(2):
        volume = NormalizeIntensityLazyd("image", divisor=1.0)({"image": open_volume(path)})["image"]
        volume.gather(torch.tensor([[3, 3, 0]]), 1, steps=(2,))
        found.append({entry: entry.stat().st_mtime_ns for entry in cache.iterdir()})
    assert found[0] == found[1]


# ---- handles to files that have changed ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [npy, nii])
@pytest.mark.parametrize("renamed", [False, True])
def test_a_mapped_file_that_changed_is_refused(tmp_path: Path, kind: Writer, renamed: bool) -> None:
    path = kind(tmp_path, 10)
    volume = open_volume(path)
    assert volume.gather(torch.tensor([[3, 3, 0]]), 1).item() == 10
    if renamed:
        (tmp_path / "new").mkdir()
        kind(tmp_path / "new", 20).replace(path)
    else:
        kind(tmp_path, 20)
    for size in (1, 3):
        with pytest.raises(ValueError, match=f"{path} has changed since it was opened: open it again"):
            volume.gather(torch.tensor([[3, 3, 0]]), size)


def test_a_mapped_file_that_became_shorter_is_refused(tmp_path: Path) -> None:
    volume = open_volume(npy(tmp_path, 10))
    volume.gather(torch.tensor([[3, 3, 0]]), 1)
    os.truncate(tmp_path / "scan.npy", 200)
    with pytest.raises(ValueError, match=r"scan.npy is truncated"):
        volume.gather(torch.tensor([[3, 3, 0]]), 1)


@pytest.mark.parametrize("border", [False, True])
def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path, border: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    path = npy(tmp_path, 10)
    volume, read = open_volume(path), indexing._windows

    def overtaken(*arguments: Any) -> Any:
        found = read(*arguments)
        npy(tmp_path, 20)
        return found

    monkeypatch.setattr(indexing, "_windows", overtaken)
    with pytest.raises(ValueError, match="has changed since it was opened"):
        volume.gather(torch.tensor([[3, 3, 3], [0 if border else 3, 3, 3]]), 3)


def test_a_file_that_is_unpacked_again_is_the_same(tmp_path: Path, cache: Path) -> None:
    volume = open_volume(nii_gz(tmp_path, 10))
    shutil.rmtree(cache)
    open_volume(tmp_path / "scan.nii.gz")
    assert volume.gather(torch.tensor([[3, 3, 0]]), 1).item() == 10


# ---- OME-Zarr ------------------------------------------------------------------------------------------------------------------


def test_chunks_that_are_written_again_are_read_again(tmp_path: Path) -> None:
    location = write(str(tmp_path / "scan"))
    volume = open_volume(location)
    np.testing.assert_array_equal(whole(location), VALUES.transpose(0, 3, 2, 1))
    array: Any = zarr.open_group(location, mode="r+")["0"]
    array[0, :8, 8:16, 16:24] = 7
    changed = array[...].transpose(0, 3, 2, 1)
    for opened in (volume, open_volume(location)):
        np.testing.assert_array_equal(opened.gather(torch.tensor([[12, 15, 10]]), (25, 30, 21))[0], changed)
    (tmp_path / "scan/0/c/0/0/1/2").unlink()
    changed[0, 16:24, 8:16, :8] = 0
    np.testing.assert_array_equal(volume.gather(torch.tensor([[12, 15, 10]]), (25, 30, 21))[0], changed)


@pytest.mark.parametrize("kind", ["0.4", "0.5"])
def test_an_array_whose_metadata_changed_is_refused(tmp_path: Path, kind: str) -> None:
    location = write(str(tmp_path / "scan"), version=kind)
    volume = open_volume(location)
    whole(location)
    shutil.rmtree(location)
    write(location, VALUES.astype(">u2") + 5, version=kind, compressors=None)
    with pytest.raises(ValueError, match="scan: 0 has changed since it was opened: open it again"):
        volume.gather(torch.tensor([[12, 15, 10]]), 3)
    np.testing.assert_array_equal(whole(location), VALUES.transpose(0, 3, 2, 1) + 5)


def test_levels_of_the_store_that_are_written_again(tmp_path: Path) -> None:
    location = write(str(tmp_path / "scan"))
    open_volume(location).gather(torch.tensor([[12, 15, 10]]), 3, steps=(2,))
    shutil.rmtree(location)
    write(location, VALUES[..., ::-1, :].copy(), fill_value=3)
    found = open_volume(location).gather(torch.tensor([[12, 15, 10]]), (13, 15, 21), steps=(2,))[0]
    np.testing.assert_array_equal(found, VALUES[..., ::-1, :][..., ::2, ::2].transpose(0, 3, 2, 1))


def test_a_remote_store_that_is_written_again_is_read_again() -> None:
    location = write("memory://versions/one.zarr", levels=1)
    first = open_volume(location).gather(torch.tensor([[12, 15, 10]]), 1, steps=(1, 2))
    fsspec.filesystem("memory").rm("/versions", recursive=True)
    write(location, VALUES + 7, levels=1)
    again = open_volume(location).gather(torch.tensor([[12, 15, 10]]), 1, steps=(1, 2))
    torch.testing.assert_close(again, first + 7)


def test_an_array_that_is_gone(tmp_path: Path) -> None:
    volume = open_volume(write(str(tmp_path / "scan")))
    shutil.rmtree(tmp_path / "scan" / "0")
    with pytest.raises(FileNotFoundError, match="scan has no array 0"):
        volume.gather(torch.tensor([[12, 15, 10]]), 3)
