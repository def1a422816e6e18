"""The values of DICOM slices: rescaling, how they are stored, and how they are shown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK
from dicom_slices import refused, voxels, write_series
from pydicom.dataset import FileDataset
from pydicom.uid import (
    EnhancedCTImageStorage,
)

from monai_cpic.data import open_volume
from monai_cpic.phantoms.dicom_writer import write_ct_series


def test_every_file_has_its_own_rescaling(tmp_path: Path, cache: Path) -> None:
    def rescale(dataset: FileDataset, number: int) -> None:
        dataset.RescaleIntercept = -1000 * (number % 2)

    volume = open_volume(write_series(tmp_path / "scan", 4, rescale), cache_dir=cache)
    assert voxels(volume)[0, 0].tolist() == [0, -900, 200, -700]
    assert volume.source.dtype == np.int16


def test_values_beyond_int16_and_fractions_are_kept(tmp_path: Path, cache: Path) -> None:
    def fraction(dataset: FileDataset, number: int) -> None:
        dataset.RescaleSlope = 0.25 if number == 3 else 1

    def large(dataset: FileDataset, number: int) -> None:
        dataset.RescaleIntercept = 40000

    for name, edit in {"fraction": fraction, "large": large}.items():
        folder = write_series(tmp_path / name, 4, edit)
        volume = open_volume(folder, cache_dir=cache)
        assert volume.source.dtype == np.float32
        found = [SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(folder / f"{n}.dcm")))[0].T for n in range(1, 5)]
        np.testing.assert_array_equal(voxels(volume), np.stack(found, -1))


@pytest.mark.parametrize(("signed", "bits"), [(0, 12), (0, 16), (1, 16)])
def test_values_do_not_depend_on_how_they_are_shown(tmp_path: Path, cache: Path, signed: int, bits: int) -> None:
    def inverted(dataset: FileDataset, number: int) -> None:
        dataset.PhotometricInterpretation = "MONOCHROME1"
        dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = bits, bits - 1, signed
        dataset.RescaleSlope = 2

    folder = write_series(tmp_path / "scan", 4, inverted)
    expected = [pydicom.dcmread(folder / f"{n}.dcm").pixel_array.T * 2.0 - 1024 for n in range(1, 5)]
    np.testing.assert_array_equal(voxels(open_volume(folder, cache_dir=cache)), np.stack(expected, -1))


def test_how_compressed_values_are_shown(tmp_path: Path, cache: Path) -> None:
    hu = np.random.default_rng(0).integers(-1000, 1000, (3, 16, 16)).astype(np.int16)
    write_ct_series(tmp_path, hu, (2, 1, 1), (0, 0, 0), patient="P", compressed=True)
    for path in tmp_path.glob("*.dcm"):
        path.write_bytes(path.read_bytes().replace(b"MONOCHROME2 ", b"MONOCHROME1 "))
    np.testing.assert_array_equal(voxels(open_volume(tmp_path, cache_dir=cache)), hu.T)


def test_frames_and_colours(tmp_path: Path, cache: Path) -> None:
    def frames(dataset: FileDataset, number: int) -> None:
        dataset.NumberOfFrames = 3
        dataset.PixelData = dataset.PixelData * 3

    def colours(dataset: FileDataset, number: int) -> None:
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PlanarConfiguration = 3, "RGB", 0
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 8, 7, 0
        dataset.PixelData = bytes(90)

    refused(write_series(tmp_path / "frames", 1, frames), cache, "3 frames")
    refused(write_series(tmp_path / "colours", 1, colours), cache, "colour")


@pytest.mark.parametrize("frames", [1, 3])
def test_frames_of_an_enhanced_object_are_refused_by_name(tmp_path: Path, cache: Path, frames: int) -> None:
    def enhanced(dataset: FileDataset, number: int) -> None:
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
        dataset.NumberOfFrames, dataset.PixelData = frames, dataset.PixelData * frames

    folder = write_series(tmp_path / "scan", 1, enhanced)
    refused(folder, cache, rf"1\.dcm holds {frames} frames \(Enhanced CT Image Storage\)")


@pytest.mark.parametrize("slope", ["inf", "nan", "1e400", "0", "2,5"])
def test_a_slope_that_is_none(tmp_path: Path, cache: Path, slope: str) -> None:
    def fraction(dataset: FileDataset, number: int) -> None:
        dataset.RescaleSlope = "1.2345678" if number == 3 else 1

    folder = write_series(tmp_path / "scan", edit=fraction)
    content = (folder / "4.dcm").read_bytes()
    (folder / "4.dcm").write_bytes(content.replace(b"1.2345678 ", slope.encode().ljust(10)))
    refused(folder, cache, r"4\.dcm: .*(is not a number|slope is 0)")


def test_values_beyond_float32_are_refused(tmp_path: Path, cache: Path) -> None:
    def steep(dataset: FileDataset, number: int) -> None:
        dataset.RescaleSlope = "1e38"

    refused(write_series(tmp_path / "scan", 2, steep), cache, r"\.dcm has values up to 1\.29e\+40|\.dcm has values .*float32")


def test_a_slice_that_is_stored_in_another_way(tmp_path: Path, cache: Path) -> None:
    def unsigned(dataset: FileDataset, number: int) -> None:
        dataset.PixelRepresentation = 0 if number == 4 else 1

    def inverted(dataset: FileDataset, number: int) -> None:
        dataset.PhotometricInterpretation = "MONOCHROME1" if number == 4 else "MONOCHROME2"

    def unscaled(dataset: FileDataset, number: int) -> None:
        if number == 4:
            del dataset.RescaleSlope

    refused(write_series(tmp_path / "unscaled", edit=unscaled), cache, r"different entries.*first odd one is 5\.dcm")
    refused(write_series(tmp_path / "unsigned", edit=unsigned), cache, r"different stored numbers.*first odd one is 5\.dcm")
    refused(write_series(tmp_path / "inverted", edit=inverted), cache, r"different photometric .*first odd one is 5\.dcm")
