"""DICOM series against SimpleITK and MONAI, and which files of a folder are read."""

from __future__ import annotations

import logging
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK
from dicom_slices import SERIES, refused, voxels, write_series, write_slice
from monai.transforms import LoadImage
from numpy.typing import NDArray
from pydicom.dataset import FileDataset
from pydicom.uid import (
    generate_uid,
)

from monai_cpic.data import open_volume
from monai_cpic.data.sources import MappedSource
from monai_cpic.testing import ReaderTestCase


def test_modality_is_that_of_the_headers(tmp_path: Path) -> None:
    def to_mr(dataset: FileDataset, number: int) -> None:
        dataset.Modality = "MR"

    def without(dataset: FileDataset, number: int) -> None:
        del dataset.Modality

    for name, edit, modality in (("ct", None, "CT"), ("mr", to_mr, "MR"), ("none", without, None)):
        volume = open_volume(write_series(tmp_path / name, edit=edit), cache_dir=tmp_path / "cache")
        assert volume.modality == modality == volume.coarser(2).modality == open_volume([volume, volume]).modality


def by_simpleitk(files: list[Path]) -> np.ndarray:
    """``[X, Y, Z]`` of files in order."""
    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage([str(file) for file in files])).transpose(2, 1, 0)


class TestDicom(ReaderTestCase):
    shape = (1, 5, 6, 12)  # 10.dcm sorts before 2.dcm
    affine = np.array([[-0.75, 0, 0, 10], [0, -0.5, 0, 20], [0, 0, 2.5, 30], [0, 0, 0, 1]])

    def write(self, values: NDArray[Any], folder: Path) -> Path:
        def fill(dataset: FileDataset, number: int) -> None:
            stored = values[0, :, :, number].T - int(dataset.RescaleIntercept)
            dataset.PixelData = stored.astype("<i2").tobytes()

        return write_series(folder / "scan", self.shape[3], fill)

    def truncate(self, path: Path) -> Path:
        return super().truncate(path / "3.dcm")


def test_agrees_with_monai(tmp_path: Path, cache: Path) -> None:
    folder = write_series(tmp_path / "scan")
    image = LoadImage(reader="PydicomReader", image_only=True, ensure_channel_first=True)(folder)
    volume = open_volume(folder, cache_dir=cache)
    np.testing.assert_array_equal(voxels(volume), image[0].numpy())
    np.testing.assert_allclose(volume.affine, image.affine, atol=1e-6)


def test_decoded_once_and_again_after_a_change(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_series(tmp_path / "scan", 4)
    first = open_volume(folder, cache_dir=cache)
    with monkeypatch.context() as patched:
        patched.setattr("monai_cpic.data.readers.dicom._decode", None)  # would fail if it were called
        np.testing.assert_array_equal(voxels(open_volume(folder, cache_dir=cache)), voxels(first))

    def brighter(dataset: FileDataset, number: int) -> None:
        dataset.RescaleIntercept = 10

    write_series(folder, 5, brighter)
    assert voxels(open_volume(folder, cache_dir=cache))[0, 0, 0] == 10


def test_the_cache_folder_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONAI_CPIC_CACHE", str(tmp_path / "elsewhere"))
    open_volume(write_series(tmp_path / "scan", 2))
    assert len(list((tmp_path / "elsewhere").iterdir())) == 1


def test_other_files_are_named(tmp_path: Path, cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = write_series(tmp_path / "scan", 3)
    (folder / "notes.txt").write_text("x")
    with caplog.at_level(logging.WARNING):
        assert open_volume(folder, cache_dir=cache).shape[-1] == 3
    assert "notes.txt" in caplog.text


def test_no_dicom(tmp_path: Path, cache: Path) -> None:
    folder = tmp_path / "scan"
    folder.mkdir()
    refused(folder, cache, "no DICOM file")
    (folder / "notes.txt").write_text("x")
    refused(folder, cache, "no DICOM file")


def test_two_series(tmp_path: Path, cache: Path) -> None:
    other = generate_uid()

    def second(dataset: FileDataset, number: int) -> None:
        dataset.SeriesInstanceUID = other

    folder = write_series(tmp_path / "scan", 4)
    write_slice(folder / "other.dcm", 0, second)
    refused(folder, cache, "2 series.*series_uid")
    with pytest.raises(ValueError, match=rf"{SERIES} \(4 files\)") as error:
        open_volume(folder, cache_dir=cache)
    assert f"{other} (1 files)" in str(error.value)
    assert open_volume(folder, cache_dir=cache, series_uid=SERIES).shape[-1] == 4
    assert open_volume(folder, cache_dir=cache, series_uid=other).shape[-1] == 1
    with pytest.raises(ValueError, match=r"does not hold the series 1\.2\.3"):
        open_volume(folder, cache_dir=cache, series_uid="1.2.3")


def test_transfer_syntaxes(real_data: Path, tmp_path: Path, cache: Path) -> None:
    files = sorted((real_data / "ct_codecs_wado").glob("CTImage*"))
    assert len(files) == 5
    found = []
    for file in files:
        folder = tmp_path / str(pydicom.dcmread(file, stop_before_pixels=True).file_meta.TransferSyntaxUID)
        folder.mkdir()
        shutil.copy(file, folder / "slice.dcm")
        found.append(voxels(open_volume(folder, cache_dir=cache)))
    np.testing.assert_array_equal(found[0], by_simpleitk([files[0]]))
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


def test_chest_ct(real_data: Path, tmp_path: Path, cache: Path) -> None:
    with tarfile.open(real_data / "chest_ct_lidc0314" / "LIDC-IDRI-0314_dicom.tar.xz") as archive:
        archive.extractall(tmp_path / "ct", filter="data")
    folder = next((tmp_path / "ct").rglob("*.dcm")).parent
    volume = open_volume(folder, cache_dir=cache)
    assert volume.shape == (1, 512, 512, 275)
    assert isinstance(volume.source, MappedSource) and volume.source.dtype == np.int16
    names = SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))
    np.testing.assert_array_equal(volume.source.array()[0], by_simpleitk([Path(name) for name in names]))
