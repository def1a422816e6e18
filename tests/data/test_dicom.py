"""DICOM series against SimpleITK and MONAI, and folders that must be refused."""

from __future__ import annotations

import logging
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK
import torch
from monai.transforms import LoadImage
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    EnhancedCTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    generate_uid,
)

from monai_cpic.data import LazyVolume, open_volume
from monai_cpic.data.sources import MappedSource
from monai_cpic.phantoms.dicom_writer import write_ct_series
from monai_cpic.testing import ReaderTestCase

SERIES = generate_uid()
Edit = Callable[[FileDataset, int], None]


def write_slice(path: Path, number: int, edit: Edit | None = None, shape: tuple[int, int] = (6, 5)) -> None:
    """One CT slice; the stored value of a voxel tells where it is."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    dataset.SeriesInstanceUID, dataset.StudyInstanceUID = SERIES, SERIES
    dataset.Modality, dataset.PatientID = "CT", "P1"
    dataset.InstanceNumber = number + 1
    dataset.ImagePositionPatient = [-10.0, -20.0, 30.0 + 2.5 * number]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing, dataset.SliceThickness = [0.5, 0.75], 2.5
    dataset.Rows, dataset.Columns = shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 1
    dataset.RescaleIntercept, dataset.RescaleSlope = -1024, 1
    dataset.PixelData = (np.arange(shape[0] * shape[1], dtype="<i2") + 100 * number).tobytes()
    if edit is not None:
        edit(dataset, number)
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)


def write_series(folder: Path, count: int = 6, edit: Edit | None = None) -> Path:
    """``1.dcm`` … ``count.dcm``, from feet to head."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        write_slice(folder / f"{number + 1}.dcm", number, edit)
    return folder


def test_modality_is_that_of_the_headers(tmp_path: Path) -> None:
    def to_mr(dataset: FileDataset, number: int) -> None:
        dataset.Modality = "MR"

    def without(dataset: FileDataset, number: int) -> None:
        del dataset.Modality

    for name, edit, modality in (("ct", None, "CT"), ("mr", to_mr, "MR"), ("none", without, None)):
        volume = open_volume(write_series(tmp_path / name, edit=edit), cache_dir=tmp_path / "cache")
        assert volume.modality == modality == volume.coarser(2).modality == open_volume([volume, volume]).modality


def voxels(volume: LazyVolume) -> np.ndarray:
    """All voxels ``[X, Y, Z]``, read through :meth:`gather`."""
    shape = torch.tensor(volume.shape[1:])
    return volume.gather((shape // 2)[None], shape.tolist())[0, 0].numpy()


def by_simpleitk(files: list[Path]) -> np.ndarray:
    """``[X, Y, Z]`` of files in order."""
    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage([str(file) for file in files])).transpose(2, 1, 0)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


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


# ---- folders that must be refused ----------------------------------------------------------------------------------------


def refused(folder: Path, cache: Path, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        open_volume(folder, cache_dir=cache)
    assert str(folder) in str(error.value)
    assert not cache.exists() or not list(cache.iterdir())  # nothing half-written


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


@pytest.mark.parametrize("number", [1, 3, 5])
@pytest.mark.parametrize(("suffix", "keep"), [(".dcm", 0), (".dcm", 100), (".dcm", 500), (".dcm", -20), ("", 500), ("", -20)])
def test_truncated_slice(tmp_path: Path, cache: Path, number: int, suffix: str, keep: int) -> None:
    folder = write_series(tmp_path / "scan", 5)
    path = (folder / f"{number}.dcm").rename(folder / f"{number}{suffix}")
    path.write_bytes(path.read_bytes()[:keep])
    refused(folder, cache, rf"{path.name} is truncated")


def test_too_few_voxels(tmp_path: Path, cache: Path) -> None:
    """GDCM would fill the rest with what happens to be in memory."""

    def shorten(dataset: FileDataset, number: int) -> None:
        if number == 2:
            dataset.PixelData = dataset.PixelData[:-20]

    folder = write_series(tmp_path / "scan", edit=shorten)
    with pytest.raises(ValueError, match=r"3\.dcm is truncated: it has 40 bytes of voxels, its header announces 60"):
        open_volume(folder, cache_dir=cache)


def test_a_header_number_that_is_none(tmp_path: Path, cache: Path) -> None:
    folder = write_series(tmp_path / "scan")
    content = (folder / "4.dcm").read_bytes()
    assert content.count(b"2.5 ") == 1  # the slice thickness
    (folder / "4.dcm").write_bytes(content.replace(b"2.5 ", b"2,5 "))
    with pytest.raises(ValueError, match=r"4\.dcm: '2,5' in \(0018,0050\) is not a number"):
        open_volume(folder, cache_dir=cache)
    for old, new in {b"0.5\\0.75": b"0.5\\0,75", b"-10.0\\-20.0": b"-10.0/-20.0", b"0.0\\1.0\\": b"0.0\\inf\\"}.items():
        (folder / "4.dcm").write_bytes(content.replace(old, new))  # GDCM would take 1 mm, no position, the identity
        with pytest.raises(ValueError, match=r"4\.dcm: .* is not \d numbers"):
            open_volume(folder, cache_dir=cache)


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


def test_short_voxels_in_any_transfer_syntax(tmp_path: Path, cache: Path) -> None:
    """With an icon that is larger than the slice."""
    for syntax in (ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian):

        def shorten(dataset: FileDataset, number: int) -> None:
            dataset.file_meta.TransferSyntaxUID = syntax  # noqa: B023
            dataset["PixelData"].VR = "OW"
            icon = Dataset()
            icon.PixelData = bytes(600)
            icon["PixelData"].VR = "OW"
            dataset.IconImageSequence = [icon]
            if number == 2:
                dataset.PixelData = dataset.PixelData[:-20]

        refused(write_series(tmp_path / syntax, edit=shorten), cache, r"3\.dcm is truncated: it has 40 bytes of voxels")


def test_frames_of_an_enhanced_object_are_refused_by_name(tmp_path: Path, cache: Path) -> None:
    for frames in (1, 3):

        def enhanced(dataset: FileDataset, number: int) -> None:
            dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
            dataset.NumberOfFrames, dataset.PixelData = frames, dataset.PixelData * frames  # noqa: B023

        folder = write_series(tmp_path / str(frames), 1, enhanced)
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


def test_a_file_that_may_be_a_slice(tmp_path: Path, cache: Path) -> None:
    folder = write_series(tmp_path / "scan")
    last = (folder / "6.dcm").rename(folder / "I6")
    content = last.read_bytes()
    last.write_bytes(b"x" * 200 + content[200:])
    refused(folder, cache, r"I6 is not DICOM: it may be a damaged slice")
    last.unlink()
    (folder / "6.dcm").symlink_to(tmp_path / "gone.dcm")
    refused(folder, cache, r"6\.dcm is not a file, or a link to none")


# ---- real scans ----------------------------------------------------------------------------------------------------------


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
