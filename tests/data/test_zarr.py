"""OME-Zarr against the arrays that were written, on disk and in memory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import zarr
from numpy.typing import NDArray
from ome_zarr import VALUES, whole, write

from monai_cpic.data import open_volume
from monai_cpic.data.readers import zarr_source
from monai_cpic.testing import ReaderTestCase
from monai_cpic.testing.dense import dense_means, dense_patches


class TestZarr04(ReaderTestCase):
    shape = (2, 11, 10, 9)
    affine = np.array([[-0.5, 0, 0, -5], [0, -0.5, 0, -3], [0, 0, 2, -7], [0, 0, 0, 1]])
    version = "0.4"

    @pytest.fixture(params=["?", "u1", ">i2", "<f4", ">f8"])
    def dtype(self, request: pytest.FixtureRequest) -> np.dtype[Any]:
        return np.dtype(request.param)

    def write(self, values: NDArray[Any], folder: Path) -> Path:
        write(str(folder / "scan.zarr"), values.transpose(0, 3, 2, 1), self.version, levels=1)
        return folder / "scan.zarr"

    def truncate(self, path: Path) -> Path:
        chunk = "0/0.0.0.0" if self.version == "0.4" else "0/c/0/0/0/0"
        os.truncate(path / chunk, 10)
        return path


class TestZarr05(TestZarr04):
    version = "0.5"


@pytest.mark.parametrize("names", ["zyx", "yx", "cyx", "tczyx", "xyz"])
def test_axes(tmp_path: Path, names: str) -> None:
    shape = tuple({"t": 1, "c": 2, "z": 9, "y": 8, "x": 7}[name] for name in names)
    values = np.arange(np.prod(shape)).reshape(shape).astype("u2")
    found = whole(write(str(tmp_path / "scan"), values, names=names, levels=1))
    kept = [name for name in "cxyz" if name in names]
    expected = values[0] if "t" in names else values
    expected = expected.transpose([names.replace("t", "").index(name) for name in kept])
    np.testing.assert_array_equal(found, expected if "c" in names else expected[None])


@pytest.mark.parametrize(
    ("spacing", "edge"),
    [(None, 25), (0.5, 25), (1.0, 13), (1.9, 13), (2.0, 7), ((1.2, 1.2, 3), 13), ((1.2, 0.5, 3), 25), (0.1, 25)],
)
def test_the_level_is_chosen_by_spacing(tmp_path: Path, spacing: Any, edge: int) -> None:
    volume = open_volume(write(str(tmp_path / "scan")), spacing=spacing)
    assert volume.shape[1] == edge
    assert -volume.affine[0, 0] == pytest.approx({25: 0.5, 13: 1.0, 7: 2.0}[edge])


def test_units(tmp_path: Path) -> None:
    assert open_volume(write(str(tmp_path / "a"), unit="micrometer")).affine[2, 2] == pytest.approx(0.002)
    assert open_volume(write(str(tmp_path / "b"), unit=None)).affine[2, 2] == 2
    with pytest.raises(ValueError, match="parsec"):
        open_volume(write(str(tmp_path / "c"), unit="parsec"))


def test_sharded(tmp_path: Path) -> None:
    location = write(str(tmp_path / "scan"), chunks=(1, 4, 4, 4), shards=(2, 8, 8, 8))
    source = open_volume(location).source
    assert isinstance(source, zarr_source.ZarrSource) and source.chunks == (1, 4, 4, 4)
    np.testing.assert_array_equal(whole(location, missing_chunks="error"), VALUES.transpose(0, 3, 2, 1))


def test_urls() -> None:
    location = write("memory://scans/one.zarr")
    np.testing.assert_array_equal(whole(location), VALUES.transpose(0, 3, 2, 1))
    assert open_volume(location).key == location


# ---- the store's own levels -----------------------------------------------------------------------------------------------


def means(factors: tuple[int, int, int]) -> torch.Tensor:
    return dense_means(torch.from_numpy(VALUES.transpose(0, 3, 2, 1).astype(np.float32)), factors).float()


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("shift", [0.0, 0.25, 0.49])
def test_levels_of_the_store_are_read(tmp_path: Path, cache: Path, version: str, shift: float) -> None:
    volume = open_volume(write(str(tmp_path / "scan"), version=version, shift=shift))
    centres = torch.randint(-5, 30, (50, 3))
    near, far = volume.gather(centres, 3, steps=(1, 4)).chunk(2, 1)
    stored = torch.from_numpy(VALUES.transpose(0, 3, 2, 1)[:, ::4, ::4].astype(np.float32))
    blocks = centres.div(torch.tensor([4, 4, 1]), rounding_mode="floor")
    assert torch.equal(near, volume.gather(centres, 3))
    assert torch.equal(far, dense_patches(stored, blocks, (3, 3, 3)))
    assert isinstance(volume.coarser(4).source, zarr_source.ZarrSource)
    assert not cache.exists()


def test_levels_that_lie_elsewhere_or_are_missing_are_averaged(tmp_path: Path, cache: Path) -> None:
    centre = torch.tensor([[12, 15, 10]])
    elsewhere = write(str(tmp_path / "elsewhere"), shift=0.6)
    for number, (location, step, factors) in enumerate(
        [(elsewhere, 2, (2, 2, 1)), (elsewhere, 4, (4, 4, 1)), (write(str(tmp_path / "scan")), 8, (8, 8, 2))]
    ):
        found = open_volume(location).gather(centre, 3, steps=(step,))
        blocks = centre.div(torch.tensor(factors), rounding_mode="floor")
        torch.testing.assert_close(found, dense_patches(means(factors), blocks, (3, 3, 3)))
        assert len(list(cache.iterdir())) == number + 1


def test_levels_of_another_shape_are_averaged(tmp_path: Path, cache: Path) -> None:
    location = write(str(tmp_path / "scan"))
    group = zarr.open_group(location, mode="r+")
    del group["1"]
    group.create_array("1", shape=(2, 21, 15, 9), dtype="<i2", chunks=(1, 8, 8, 8))
    whole = open_volume(location).coarser(2).gather(torch.tensor([[6, 7, 10]]), (13, 15, 21))[0]
    torch.testing.assert_close(whole, means((2, 2, 1)))


def test_levels_begin_at_the_one_that_is_opened(tmp_path: Path, cache: Path) -> None:
    volume = open_volume(write(str(tmp_path / "scan")), spacing=1.0)
    assert isinstance(volume.source, zarr_source.ZarrSource)
    assert volume.source.coarser == (((2, 2, 1), "2"),)
    assert volume.coarser(2).shape == (2, 7, 8, 21)


def test_urls_are_averaged_into_the_cache(cache: Path) -> None:
    volume = open_volume(write("memory://scans/three.zarr", levels=1))
    torch.testing.assert_close(volume.coarser(2).gather(torch.tensor([[6, 7, 10]]), (13, 15, 21))[0], means((2, 2, 1)))
    assert len(list(cache.iterdir())) == 1
