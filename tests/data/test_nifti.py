"""NIfTI files against nibabel and MONAI."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from monai.transforms import LoadImage
from numpy.typing import DTypeLike, NDArray

from monai_cpic.data import LazyVolume, open_volume
from monai_cpic.testing import ReaderTestCase

AFFINE = np.array([[-0.8, 0.1, 0, 90], [0, 0.9, 0.2, -120], [0, 0, 2.5, -70], [0, 0, 0, 1.0]])


def voxels(volume: LazyVolume) -> np.ndarray:
    """All voxels ``[*spatial]``, read through :meth:`gather`."""
    shape = torch.tensor(volume.shape[1:])
    return volume.gather((shape // 2)[None], shape.tolist())[0, 0].numpy()


def save(
    path: Path, shape: tuple[int, ...] = (7, 6, 5), dtype: DTypeLike = "<i2", scaling: tuple[float, float] | None = None
) -> Path:
    values = np.random.default_rng(0).integers(0, 200, shape).astype(dtype)
    header = nibabel.Nifti1Header(endianness=">" if np.dtype(dtype).byteorder == ">" else "<")
    header.set_data_dtype(dtype)
    image = nibabel.Nifti1Image(values, AFFINE, header)
    if scaling is not None:
        image.header.set_slope_inter(*scaling)
    nibabel.save(image, path)
    return path


class TestNifti(ReaderTestCase):
    affine = AFFINE
    name = "scan.nii"

    @pytest.fixture(params=["u1", "<i2", ">i2", "<f4", "<f8"])
    def dtype(self, request: pytest.FixtureRequest) -> np.dtype[Any]:
        return np.dtype(request.param)

    def write(self, values: NDArray[Any], folder: Path) -> Path:
        header = nibabel.Nifti1Header(endianness=">" if values.dtype.byteorder == ">" else "<")
        header.set_data_dtype(values.dtype)
        nibabel.save(nibabel.Nifti1Image(values[0], self.affine, header), folder / self.name)
        return folder / self.name


class TestPackedNifti(TestNifti):
    name = "scan.nii.gz"


@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz"])
@pytest.mark.parametrize("dtype", ["u1", "<i2", ">i2", "<f4", "<f8"])
def test_scaled_values_are_those_of_nibabel(tmp_path: Path, name: str, dtype: str) -> None:
    path = save(tmp_path / name, dtype=dtype, scaling=(0.37, -12.5))
    volume = open_volume(path, cache_dir=tmp_path / "cache")
    expected = nibabel.Nifti1Image.from_filename(path).get_fdata(dtype=np.float32)
    np.testing.assert_allclose(voxels(volume), expected, rtol=1e-6, atol=1e-5)
    assert volume.source.dtype == np.dtype("f4" if dtype == "<f8" else dtype)  # scaled in float32


def test_agrees_with_monai(tmp_path: Path) -> None:
    path = save(tmp_path / "scan.nii.gz", scaling=(2.0, -1000.0))
    image = LoadImage(image_only=True, ensure_channel_first=True)(path)
    volume = open_volume(path, cache_dir=tmp_path / "cache")
    np.testing.assert_array_equal(voxels(volume), image[0].numpy())
    np.testing.assert_allclose(volume.affine, image.affine)


@pytest.mark.parametrize(("shape", "seen"), [((7, 6), (1, 7, 6)), ((7, 6, 1), (1, 7, 6, 1)), ((7, 6, 5, 1), (1, 7, 6, 5))])
def test_dimensions(tmp_path: Path, shape: tuple[int, ...], seen: tuple[int, ...]) -> None:
    volume = open_volume(save(tmp_path / "scan.nii", shape))
    assert volume.shape == seen
    assert volume.affine.shape == (len(seen), len(seen))
    np.testing.assert_array_equal(
        voxels(volume), nibabel.Nifti1Image.from_filename(tmp_path / "scan.nii").get_fdata().reshape(seen[1:])
    )


def test_unpacked_once_and_again_after_a_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, cache = save(tmp_path / "scan.nii.gz"), tmp_path / "cache"
    open_volume(path, cache_dir=cache)
    with monkeypatch.context() as patched:
        patched.setattr("monai_cpic.data.readers.nifti._unpack", None)  # would fail if it were called
        open_volume(path, cache_dir=cache)
    save(path, (3, 3, 3))
    assert open_volume(path, cache_dir=cache).shape == (1, 3, 3, 3)


# ---- files that must be refused ------------------------------------------------------------------------------------------


def refused(path: Path, message: str) -> None:
    cache = path.parent / "cache"
    with pytest.raises(ValueError, match=message) as error:
        open_volume(path, cache_dir=cache)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("keep", [0.3, 0.9, -4])
def test_truncated_gzip_leaves_nothing_behind(tmp_path: Path, keep: float) -> None:
    path = save(tmp_path / "scan.nii.gz")
    content = path.read_bytes()
    path.write_bytes(content[: int(keep if keep < 0 else keep * len(content))])
    refused(path, "truncated")
    assert list((tmp_path / "cache").iterdir()) == []


def test_damaged_gzip(tmp_path: Path) -> None:
    path = save(tmp_path / "scan.nii.gz")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    refused(path, "damaged")
    path.write_bytes(b"not gzip")
    refused(path, "damaged")


def test_one_byte_is_missing(tmp_path: Path) -> None:
    path = save(tmp_path / "scan.nii")
    path.write_bytes(path.read_bytes()[:-1])
    refused(path, "truncated")


def test_a_truncated_volume_inside_a_whole_gzip_leaves_nothing_behind(tmp_path: Path) -> None:
    nibabel.Nifti1Image(np.zeros((8, 8, 8), np.int16), np.eye(4)).to_filename(tmp_path / "whole.nii")
    with gzip.open(tmp_path / "scan.nii.gz", "wb") as packed:
        packed.write((tmp_path / "whole.nii").read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"truncated: it has 1276 bytes, its header announces 1376"):
        open_volume(tmp_path / "scan.nii.gz", cache_dir=tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*.nii"))


def test_a_file_cut_short_after_opening_is_an_error(tmp_path: Path) -> None:
    """Reading the old map would end the process."""
    nibabel.Nifti1Image(np.ones((8, 8, 8), np.int16), np.eye(4)).to_filename(tmp_path / "scan.nii")
    volume = open_volume(tmp_path / "scan.nii")
    assert volume.gather(torch.tensor([[4, 4, 4]]), 3).eq(1).all()
    os.truncate(tmp_path / "scan.nii", 1000)
    with pytest.raises(ValueError, match="truncated: it has 1000 bytes"):
        volume.gather(torch.tensor([[4, 4, 4]]), 3)


def test_not_nifti(tmp_path: Path) -> None:
    path = tmp_path / "scan.nii"
    path.write_bytes(b"x" * 400)
    refused(path, "not a readable NIfTI file")


def test_series_of_volumes(tmp_path: Path) -> None:
    refused(save(tmp_path / "scan.nii", (7, 6, 5, 2)), r"series of volumes, shape \(7, 6, 5, 2\)")


def test_complex_and_colour_values(tmp_path: Path) -> None:
    refused(save(tmp_path / "complex.nii", dtype="c8"), "data type complex64")
    colour = np.zeros((4, 4, 4), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    nibabel.save(nibabel.Nifti1Image(colour, AFFINE), tmp_path / "colour.nii")
    refused(tmp_path / "colour.nii", "data type")


# ---- real scans ----------------------------------------------------------------------------------------------------------


def test_brain(real_data: Path, tmp_path: Path) -> None:
    path = next((real_data / "brain_openms_4mod" / "patient07").glob("*FLAIR*"))
    volume = open_volume(path, cache_dir=tmp_path)
    image = LoadImage(image_only=True, ensure_channel_first=True)(path)
    assert volume.shape == tuple(image.shape)
    np.testing.assert_allclose(voxels(volume), image[0].numpy(), rtol=1e-6)
    np.testing.assert_allclose(volume.affine, image.affine)


def test_bold_series_is_refused(real_data: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="series of volumes"):
        open_volume(next((real_data / "bold4d_studyforrest").glob("*.nii.gz")), cache_dir=tmp_path)


def test_an_image_of_two_axes_must_be_axial(tmp_path: Path) -> None:
    """The third axis of its affine would be lost."""
    coronal = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
    nibabel.save(nibabel.Nifti1Image(np.zeros((5, 4), np.int16), coronal), tmp_path / "scan.nii")
    with pytest.raises(ValueError, match=r"scan\.nii is a 2-D image that does not lie in the axial plane"):
        open_volume(tmp_path / "scan.nii")
