"""MetaImage and NRRD against SimpleITK."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
import torch
from monai.transforms import LoadImage
from numpy.typing import NDArray

from monai_cpic.data import LazyVolume, open_volume
from monai_cpic.data.readers.itk_files import data_files
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


def made_voxels(made: SimpleITK.Image) -> NDArray[Any]:
    """``[1, X, Y, Z]``."""
    return SimpleITK.GetArrayFromImage(made).T[None]


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
    with pytest.raises(ValueError, match=r"scan.mha is truncated, damaged or no MetaImage file"):
        open_volume(tmp_path / "scan.mha", cache_dir=tmp_path / "cache")
    path = save(tmp_path / "scan.mhd", image())
    (tmp_path / "scan.raw").unlink()
    with pytest.raises(ValueError, match=r"scan.mhd is .*without its data file"):
        open_volume(path, cache_dir=tmp_path / "cache")


@pytest.mark.parametrize("name", ["scan.mha", "scan.mhd", "scan.nrrd", "scan.nhdr"])
def test_any_damage_to_compressed_voxels_is_noticed(tmp_path: Path, name: str) -> None:
    """SimpleITK prints that it could not unpack them, and gives what is in memory."""
    path = save(tmp_path / name, image(), compressed=True)
    data = next((file for file in tmp_path.iterdir() if file.suffix in (".zraw", ".gz")), path)
    content = data.read_bytes()
    begin = max(content.find(b"LOCAL\n") + 6, content.find(b"\n\n") + 2) if data == path else 0
    for bit in np.random.default_rng(0).integers(8 * begin + 160, 8 * len(content), 40).tolist():
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        data.write_bytes(damaged)
        with pytest.raises(ValueError, match=rf"{name} is .*damaged"):
            open_volume(path, cache_dir=tmp_path / "cache")


# Entries of headers, and what they are replaced by.
METAIMAGE = [
    ("NDims = 3", "NDims = 1e30"),
    ("NDims = 3", "NDims = 5"),
    ("NDims = 3", "NDims = 3\nNDims = 2"),
    ("DimSize = 7 6 5", "DimSize = 7 0 5"),
    ("DimSize = 7 6 5", "DimSize = 7 -6 5"),
    ("DimSize = 7 6 5", "DimSize = 7 6"),
    ("DimSize = 7 6 5", "DimSize = 99999999 99999999 5"),
    ("DimSize = 7 6 5\n", ""),
    ("MET_SHORT", "MET_STRING"),
    ("CompressedData = ", "\x1eCompressedData = "),
    ("LOCAL\n", "LOCAL\n\n"),
    ("ElementSpacing = 0.69999999999999996", "ElementSpacing = nan"),
    ("ElementSpacing = 0.69999999999999996", "ElementSpacing = 0"),
]
COMPRESSED_METAIMAGE = [
    ("CompressedDataSize = ", "CompressedDataSize = 9"),
    ("CompressedDataSize = ", "CompressedDataSize = -"),
    ("CompressedDataSize", "Size"),
]
NRRD = [
    ("sizes: 7 6 5", "sizes: 7 6 1.5"),
    ("sizes: 7 6 5", "sizes: 7 1e300 5"),
    ("sizes: 7 6 5", "sizes: 7 6 4"),
    ("sizes: 7 6 5", "sizes: 7 0 5"),
    ("sizes: 7 6 5", "sizes: 7 6 5\nsizes: 7 6 5"),
    ("sizes: 7 6 5\n", ""),
    ("type: short", "type: block"),
    ("type: short", "type: uchar"),
]
BROKEN = [
    *(("scan.mha", False, *change) for change in METAIMAGE),
    *(("scan.mha", True, *change) for change in METAIMAGE + COMPRESSED_METAIMAGE),
    *(("scan.nrrd", compressed, *change) for compressed in (False, True) for change in NRRD),
]


@pytest.mark.parametrize(("name", "compressed", "entry", "other"), BROKEN)
def test_broken_headers_are_refused_before_simpleitk_sees_them(
    tmp_path: Path, name: str, compressed: bool, entry: str, other: str
) -> None:
    """It crashes, or reads fewer voxels than there are."""
    path = save(tmp_path / name, image(), compressed)
    content = path.read_bytes()
    assert entry.encode() in content
    path.write_bytes(content.replace(entry.encode(), other.encode(), 1))
    with pytest.raises(ValueError, match=re.escape(str(path))):
        open_volume(path, cache_dir=tmp_path / "cache")


@pytest.mark.parametrize(("name", "entry"), [("scan.mhd", "ElementDataFile = "), ("scan.nhdr", "data file: ")])
def test_data_files(tmp_path: Path, name: str, entry: str) -> None:
    made = image("uint8")
    folder, cache = tmp_path / "folder", tmp_path / "cache"
    folder.mkdir()
    path = save(folder / name, made)
    header = re.sub(rf"{entry}.*\n", "", path.read_text())
    slices = SimpleITK.GetArrayFromImage(made)
    (folder / "scan.raw").rename(tmp_path / "scan.raw")
    for elsewhere in ("x/../../scan.raw", "../scan.raw", str(tmp_path / "scan.raw")):
        path.write_text(f"{header}{entry}{elsewhere}\n")
        with pytest.raises(ValueError, match=rf"{name} reads its voxels from .*scan.raw, outside its folder; .*outside=True"):
            open_volume(path, cache_dir=cache)
    np.testing.assert_array_equal(voxels(open_volume(path.parent / name, cache_dir=cache, outside=True)), made_voxels(made))
    for k, values in enumerate(slices):
        (folder / f"part{k}.raw").write_bytes(values.tobytes())
    dimension = " 2" if name.endswith("nhdr") else ""
    for value in (f"LIST{dimension}\n" + "\n".join(f"part{k}.raw" for k in range(5)), f"part%d.raw 0 4 1{dimension}"):
        path.write_text(f"{header}{entry}{value}\n")
        assert data_files(path) == [folder / f"part{k}.raw" for k in range(5)]
        np.testing.assert_array_equal(voxels(open_volume(path, cache_dir=cache)), made_voxels(made))
    for value in ("part%d.raw 0 4 0", "part%d.raw 0 4000000 1", "part%q.raw 0 4 1", "part%d.raw a 4 1"):
        path.write_text(f"{header}{entry}{value}\n")
        with pytest.raises(ValueError, match=rf"{name}: '{value}' does not name data files"):
            open_volume(path, cache_dir=cache)
