"""Where the slices of a DICOM series lie, against MONAI and SimpleITK."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
import torch
from dicom_slices import refused, voxels, write_series, write_slice
from monai.transforms import LoadImage
from pydicom.dataset import FileDataset

from monai_cpic.data import open_volume


def test_slices_are_sorted_along_their_normal(tmp_path: Path, cache: Path) -> None:
    def sagittal(dataset: FileDataset, number: int) -> None:
        dataset.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
        dataset.ImagePositionPatient = [40.0 - 3 * number, -20.0, 100.0]
        dataset.InstanceNumber = (number * 5) % 6 + 1  # says nothing

    folder = write_series(tmp_path / "scan", 6, sagittal)
    volume = open_volume(folder, cache_dir=cache)
    image = SimpleITK.ReadImage([str(folder / f"{n}.dcm") for n in range(1, 7)])
    for voxel in ([0, 0, 0], [2, 3, 4], [4, 5, 5]):
        index = torch.linalg.inv(volume.affine) @ torch.tensor(
            [*(np.array([-1, -1, 1]) * image.TransformIndexToPhysicalPoint(voxel)), 1], dtype=torch.float64
        )
        assert volume.gather(index[:3].round().long()[None], 1).item() == image[voxel]


@pytest.mark.parametrize("number_in", ["InstanceNumber", "name"])
def test_without_positions_the_number_sorts(
    tmp_path: Path, cache: Path, number_in: str, caplog: pytest.LogCaptureFixture
) -> None:
    def strip(dataset: FileDataset, number: int) -> None:
        del dataset.ImagePositionPatient
        if number % 2:
            dataset.SpacingBetweenSlices = 2.5
        if number_in == "name":
            del dataset.InstanceNumber

    folder = write_series(tmp_path / "scan", 11, strip)
    with caplog.at_level(logging.WARNING):
        volume = open_volume(folder, cache_dir=cache)
    assert "without ImagePositionPatient" in caplog.text
    np.testing.assert_array_equal(voxels(volume)[0, 0], np.arange(11) * 100 - 1024)
    np.testing.assert_allclose(volume.affine, np.diag([-0.75, -0.5, 2.5, 1]))


def test_an_empty_position_is_a_missing_one(tmp_path: Path, cache: Path) -> None:
    def empty(dataset: FileDataset, number: int) -> None:
        dataset.ImagePositionPatient = None

    assert open_volume(write_series(tmp_path / "scan", 4, empty), cache_dir=cache).affine[2, 2] == 2.5


@pytest.mark.parametrize("drift", [(0.0, 1.1), (-0.3, 0.6)])
def test_a_tilted_gantry_gives_the_affine_of_monai(tmp_path: Path, cache: Path, drift: tuple[float, float]) -> None:
    def tilted(dataset: FileDataset, number: int) -> None:
        dataset.ImagePositionPatient = [-10.0 + drift[0] * number, -20.0 + drift[1] * number, 30.0 + 2.5 * number]

    folder = write_series(tmp_path / "scan", 6, tilted)
    image = LoadImage(reader="PydicomReader", image_only=True, ensure_channel_first=True)(folder)
    volume = open_volume(folder, cache_dir=cache)
    np.testing.assert_allclose(volume.affine, image.affine, atol=1e-6)
    np.testing.assert_allclose(volume.affine[:3, 2], [-drift[0], -drift[1], 2.5], atol=1e-9)


def test_one_slice_is_a_volume(tmp_path: Path, cache: Path) -> None:
    volume = open_volume(write_series(tmp_path / "scan", 1), cache_dir=cache)
    assert volume.shape == (1, 5, 6, 1)
    assert volume.affine[2, 2] == 2.5


def test_slices_of_different_sizes(tmp_path: Path, cache: Path) -> None:
    folder = write_series(tmp_path / "scan", 5)
    write_slice(folder / "3.dcm", 2, shape=(6, 7))
    refused(folder, cache, r"different size.*3\.dcm")


def test_missing_slice(tmp_path: Path, cache: Path) -> None:
    folder = write_series(tmp_path / "scan", 6)
    (folder / "4.dcm").unlink()
    refused(folder, cache, "3.dcm and 5.dcm are 5 mm apart, other neighbours 2.5: a slice is missing")


def test_missing_number_without_positions(tmp_path: Path, cache: Path) -> None:
    def strip(dataset: FileDataset, number: int) -> None:
        del dataset.ImagePositionPatient

    folder = write_series(tmp_path / "scan", 6, strip)
    (folder / "4.dcm").unlink()
    refused(folder, cache, "3.dcm and 5.dcm.*a slice is missing")


def test_the_same_slice_twice(tmp_path: Path, cache: Path) -> None:
    folder = write_series(tmp_path / "scan", 4)
    shutil.copy(folder / "2.dcm", folder / "copy.dcm")
    refused(folder, cache, "same position")


@pytest.mark.parametrize("number", [0, 3, 5])
def test_a_slice_beside_the_others(tmp_path: Path, cache: Path, number: int) -> None:
    def beside(dataset: FileDataset, slice_number: int) -> None:
        if slice_number == number:
            dataset.ImagePositionPatient = [40.0, -20.0, 30.0 + 2.5 * slice_number]

    refused(write_series(tmp_path / "scan", edit=beside), cache, rf"\b{number + 1}\.dcm.* lie beside each other by 50 mm more")


def test_two_slices_beside_each_other(tmp_path: Path, cache: Path) -> None:
    def beside(dataset: FileDataset, number: int) -> None:
        dataset.ImagePositionPatient = [-10.0 + 3 * number, -20.0, 30.0 + 2.5 * number]

    refused(write_series(tmp_path / "scan", edit=beside), cache, "3 mm beside each other and 2.5 mm apart")


@pytest.mark.parametrize("lacking", ["PixelSpacing", "ImageOrientationPatient"])
def test_what_is_taken_for_granted_is_said(tmp_path: Path, cache: Path, lacking: str, caplog: pytest.LogCaptureFixture) -> None:
    """GDCM takes 1 mm and the axial plane; series of the OSIC cohort lack their orientation."""
    folder = write_series(tmp_path / "scan", edit=lambda dataset, number: delattr(dataset, lacking))
    open_volume(folder, cache_dir=cache)
    assert f"{folder}: the headers lack {lacking}: " in caplog.text and " taken as " in caplog.text


def test_a_pixel_without_a_size(tmp_path: Path, cache: Path) -> None:
    folder = write_series(tmp_path / "scan", edit=lambda dataset, number: setattr(dataset, "PixelSpacing", [0.5, 0]))
    refused(folder, cache, r"1\.dcm: a voxel of .* mm has no size; correct PixelSpacing")


def test_what_appears_beside_the_slices_and_is_hidden_changes_nothing(tmp_path: Path, cache: Path) -> None:
    folder = write_series(tmp_path / "scan")
    open_volume(folder, cache_dir=cache)
    (folder / ".DS_Store").touch()
    open_volume(folder, cache_dir=cache)
    assert len([path for path in cache.iterdir() if path.is_dir()]) == 1
