"""MetaImage and NRRD against SimpleITK."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
import torch
from monai.transforms import LoadImage
from numpy.typing import NDArray

from monai_cpic.data import LazyVolume, open_volume
from monai_cpic.testing import ReaderTestCase

TURN = (0.8, -0.6, 0.0, 0.6, 0.8, 0.0, 0.0, 0.0, -1.0)


def image(dtype: str = "int16", shape: tuple[int, ...] = (5, 6, 7), components: bool = False) -> SimpleITK.Image:
    return image_of(np.random.default_rng(0).integers(0, 200, shape).astype(dtype), components)


def image_of(values: NDArray[Any], components: bool = False) -> SimpleITK.Image:
    made = SimpleITK.GetImageFromArray(values, isVector=components)
    axes = made.GetDimension()
    made.SetSpacing((0.7, 0.9, 2.5, 1.0)[:axes])
    made.SetOrigin((-20.0, 35.0, 111.0, 0.0)[:axes])
    if axes == 3:
        made.SetDirection(TURN)
    return made


def save(path: Path, made: SimpleITK.Image, compressed: bool = False) -> Path:
    SimpleITK.WriteImage(made, str(path), compressed)
    return path


def voxels(volume: LazyVolume) -> np.ndarray:
    shape = torch.tensor(volume.shape[1:])
    return volume.gather((shape // 2)[None], shape.tolist())[0].numpy()


class TestMha(ReaderTestCase):
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ np.block(
        [[np.reshape(TURN, (3, 3)) * [0.7, 0.9, 2.5], np.array([[-20.0], [35.0], [111.0]])], [np.array([[0.0, 0.0, 0.0, 1.0]])]]
    )
    name = "scan.mha"
    compressed = False

    @pytest.fixture(params=["u1", "<i2", "<f4", "<f8"])
    def dtype(self, request: pytest.FixtureRequest) -> np.dtype[Any]:
        return np.dtype(request.param)

    def write(self, values: NDArray[Any], folder: Path) -> Path:
        return save(folder / self.name, image_of(values[0].T), self.compressed)

    def truncate(self, path: Path) -> Path:
        data = next((file for file in path.parent.iterdir() if file.suffix in (".raw", ".zraw", ".gz")), path)
        super().truncate(data)
        return path


class TestCompressedMhd(TestMha):
    name = "scan.mhd"
    compressed = True


class TestCompressedNrrd(TestMha):
    name = "scan.nrrd"
    compressed = True


class TestNhdr(TestMha):
    name = "scan.nhdr"


@pytest.mark.parametrize("name", ["scan.mha", "scan.mhd", "scan.nrrd", "scan.nhdr"])
def test_compression_changes_nothing(tmp_path: Path, name: str) -> None:
    opened = []
    for compressed in (False, True):
        (tmp_path / str(compressed)).mkdir()
        opened.append(open_volume(save(tmp_path / str(compressed) / name, image(), compressed), cache_dir=tmp_path / "cache"))
    np.testing.assert_array_equal(voxels(opened[0]), voxels(opened[1]))
    np.testing.assert_array_equal(opened[0].affine, opened[1].affine)


def test_the_geometry_of_the_same_scan_in_nifti_by_monai(tmp_path: Path) -> None:
    made = image()
    expected = LoadImage(image_only=True, ensure_channel_first=True)(save(tmp_path / "scan.nii", made))
    volume = open_volume(save(tmp_path / "scan.nrrd", made), cache_dir=tmp_path / "cache")
    np.testing.assert_array_equal(voxels(volume), expected.numpy())
    np.testing.assert_allclose(volume.affine, expected.affine, atol=1e-4)


@pytest.mark.parametrize("name", ["scan.mha", "scan.nrrd"])
def test_dimensions_and_components(tmp_path: Path, name: str) -> None:
    cache = tmp_path / "cache"
    flat = image(shape=(6, 7))
    volume = open_volume(save(tmp_path / name, flat), cache_dir=cache)
    assert volume.shape == (1, 7, 6)
    np.testing.assert_allclose(volume.affine, np.array([[-0.7, 0, 20], [0, -0.9, -35], [0, 0, 1]]), atol=1e-6)
    np.testing.assert_array_equal(voxels(volume)[0], SimpleITK.GetArrayFromImage(flat).T)
    vector = image(shape=(5, 6, 7, 3), components=True)
    volume = open_volume(save(tmp_path / name, vector), cache_dir=cache)
    np.testing.assert_array_equal(voxels(volume), SimpleITK.GetArrayFromImage(vector).T)
    assert open_volume(save(tmp_path / name, image(shape=(1, 5, 6, 7))), cache_dir=cache).shape == (1, 7, 6, 5)
    with pytest.raises(ValueError, match=rf"{name} holds a series of volumes, shape \(7, 6, 5, 2\)"):
        open_volume(save(tmp_path / name, image(shape=(2, 5, 6, 7))), cache_dir=cache)


@pytest.mark.parametrize("name", ["scan.mhd", "scan.nhdr"])
def test_a_change_of_the_data_file_is_noticed(tmp_path: Path, name: str) -> None:
    path = save(tmp_path / name, image("uint8"))
    open_volume(path, cache_dir=tmp_path / "cache")
    data = tmp_path / "scan.raw"
    data.write_bytes(bytes(len(data.read_bytes())))
    assert not voxels(open_volume(path, cache_dir=tmp_path / "cache")).any()


@pytest.mark.parametrize("name", ["scan.mha", "scan.nrrd", "scan.mhd", "scan.nhdr"])
@pytest.mark.parametrize("compressed", [False, True])
def test_truncated(tmp_path: Path, name: str, compressed: bool) -> None:
    path = save(tmp_path / name, image(shape=(20, 20, 20)), compressed)
    data = next((file for file in tmp_path.iterdir() if file.suffix in (".raw", ".zraw", ".gz")), path)
    data.write_bytes(data.read_bytes()[:-3000])
    with pytest.raises(ValueError, match=rf"{name} is truncated"):
        open_volume(path, cache_dir=tmp_path / "cache")
    assert not [file for file in (tmp_path / "cache").rglob("*") if file.is_file()]


def test_broken(tmp_path: Path) -> None:
    (tmp_path / "scan.mha").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"scan.mha is truncated, damaged"):
        open_volume(tmp_path / "scan.mha", cache_dir=tmp_path / "cache")
    path = save(tmp_path / "scan.mhd", image())
    (tmp_path / "scan.raw").unlink()
    with pytest.raises(ValueError, match=r"scan.mhd is .*without its data file"):
        open_volume(path, cache_dir=tmp_path / "cache")
