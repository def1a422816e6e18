"""OME-Zarr against the arrays that were written, on disk, in memory and behind a failing connection."""

from __future__ import annotations

import json
import multiprocessing
import os
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import torch
import zarr
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from monai_cpic.data import open_volume
from monai_cpic.data.cache.chunks import ChunkCache, ChunksDoNotFit
from monai_cpic.data.readers import zarr_source, zarr_store
from monai_cpic.testing import ReaderTestCase
from monai_cpic.testing.dense import dense_means, dense_patches

SHAPE = (2, 21, 30, 25)  # c, z, y, x
VALUES = np.random.default_rng(0).integers(1, 2000, SHAPE).astype("<i2")


def write(
    location: str,
    values: np.ndarray = VALUES,
    version: str = "0.5",
    names: str = "czyx",
    unit: str | None = "millimeter",
    levels: int = 3,
    shift: float = 0.0,
    **options: Any,
) -> str:
    """An image whose voxels are 0.5 mm (x, y) and 2 mm (z); the next levels are twice as coarse in x and y.

    A level has every other voxel of the one before.  It is said to lie ``shift`` of its voxels further.
    """
    store = zarr.storage.FsspecStore.from_url(location) if "://" in location else location
    group = zarr.create_group(store, zarr_format=2 if version == "0.4" else 3)
    datasets = []
    for level in range(levels):
        step = 2**level
        smaller = values[..., ::step, ::step]
        chunks = tuple(min(8, edge) if name != "c" else 1 for name, edge in zip(names, smaller.shape, strict=True))
        array = group.create_array(str(level), shape=smaller.shape, dtype=smaller.dtype, **{"chunks": chunks, **options})
        array[...] = smaller
        scale = [{"z": 2.0, "y": 0.5 * step, "x": 0.5 * step}.get(name, 1.0) for name in names]
        further = 0.5 * step * shift if level else 0.0
        origin = [{"z": -7.0, "y": 3.0 + further, "x": 5.0 + further}.get(name, 0.0) for name in names]
        steps = [{"type": "scale", "scale": scale}, {"type": "translation", "translation": origin}]
        datasets.append({"path": str(level), "coordinateTransformations": steps})
    axes = [{"name": name, **({"type": "space", "unit": unit} if name in "xyz" and unit else {})} for name in names]
    image: dict[str, Any] = {"axes": axes, "datasets": datasets}
    if version == "0.4":
        group.attrs["multiscales"] = [{"version": version, **image}]
    else:
        group.attrs["ome"] = {"version": version, "multiscales": [image]}
    return location


def whole(location: str, **options: Any) -> np.ndarray:
    volume = open_volume(location, **options)
    shape = torch.tensor(volume.shape[1:])
    return volume.gather(shape[None] // 2, shape.tolist())[0].numpy()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zarr_store, "DELAYS", (0.0, 0.0, 0.0))


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


# ---- processes -----------------------------------------------------------------------------------------------------------


def _sum(volume: Any, queue: Any) -> None:
    queue.put(volume.gather(torch.tensor([[12, 15, 10]]), 20).sum().item())


def test_a_spawned_process_reads(tmp_path: Path) -> None:
    volume = open_volume(write(str(tmp_path / "scan")))
    expected = volume.gather(torch.tensor([[12, 15, 10]]), 20).sum().item()
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=_sum, args=(volume, queue))
    process.start()
    try:
        assert queue.get(timeout=120) == expected
    finally:
        process.kill()
        process.join()


# ---- the cache -----------------------------------------------------------------------------------------------------------


def test_chunks_are_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    volume = open_volume(write(str(tmp_path / "scan")))
    centres = torch.randint(0, 20, (50, 3))
    first = volume.gather(centres, 5)
    monkeypatch.setattr(zarr_source._Opened, "load", None)  # would fail if it were called
    assert torch.equal(volume.gather(centres, 5), first)


def test_a_small_cache_reads_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = ChunkCache(1024, 9 * 1024)
    monkeypatch.setattr(zarr_source, "shared_chunk_cache", lambda size: cache)
    volume = open_volume(write(str(tmp_path / "scan")))
    centres = torch.randint(-5, 30, (200, 3))
    assert torch.equal(volume.gather(centres, 5), open_volume(VALUES.transpose(0, 3, 2, 1)).gather(centres, 5))
    with pytest.raises(ValueError, match=r"scan: a patch touches more chunks .*MONAI_CPIC_CHUNK_CACHE"):
        volume.gather(torch.tensor([[12, 12, 12]]), 20)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(0, 19), min_size=1, max_size=5), max_size=12))
def test_the_least_recently_used_are_replaced(requests: list[list[int]]) -> None:
    cache, table = ChunkCache(16, 6 * 16), np.zeros(20, np.int32)
    recent: list[set[int]] = []
    loaded: list[int] = []

    def load(chunk: int, voxels: np.ndarray) -> None:
        loaded.append(chunk)
        voxels[:] = 10 * chunk + np.arange(len(voxels))

    for chunks in requests:
        loaded.clear()
        offsets = np.arange(len(chunks)) % 8
        found = cache.read(table, np.array(chunks), offsets, np.dtype("i2"), load)
        np.testing.assert_array_equal(found, 10 * np.array(chunks) + offsets)
        assert not set(loaded) & set(recent[-1:][0] if recent else [])
        recent.append(set(chunks))
        assert {int(chunk) for chunk in np.flatnonzero(table)} >= set(chunks)
        assert np.count_nonzero(table) <= 6


def test_a_failed_request_leaves_the_cache_usable() -> None:
    cache, table = ChunkCache(16, 2 * 16), np.zeros(9, np.int32)

    def load(chunk: int, voxels: np.ndarray) -> None:
        if chunk == 3:
            raise ValueError("no")
        voxels[:] = chunk

    def read(*chunks: int) -> list[int]:
        return cache.read(table, np.array(chunks), np.zeros(len(chunks), np.int64), np.dtype("i2"), load).tolist()

    assert read(1, 2) == [1, 2]
    with pytest.raises(ValueError, match="no"):
        read(2, 3)
    with pytest.raises(ChunksDoNotFit):
        read(4, 5, 6)
    assert read(1, 2) == [1, 2]
    assert read(7, 8) == [7, 8]


# ---- broken stores -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("version", "chunk"), [("0.4", "0/0.1.2.1"), ("0.5", "0/c/0/1/2/1")])
def test_missing_chunks(tmp_path: Path, version: str, chunk: str) -> None:
    location = write(str(tmp_path / "scan"), version=version, fill_value=7)
    (tmp_path / "scan" / chunk).unlink()
    with pytest.raises(ValueError, match=rf"scan: chunk {chunk} is missing"):
        whole(location, missing_chunks="error")
    expected = VALUES.copy()
    expected[0, 8:16, 16:24, 8:16] = 7
    np.testing.assert_array_equal(whole(location), expected.transpose(0, 3, 2, 1))


def test_a_chunk_of_fill_values_that_exists_is_not_missing(tmp_path: Path) -> None:
    values = np.zeros_like(VALUES)
    location = write(str(tmp_path / "scan"), values, config={"write_empty_chunks": True})
    assert not whole(location, missing_chunks="error").any()


def test_missing_without_a_fill_value(tmp_path: Path) -> None:
    location = write(str(tmp_path / "scan"), version="0.4")
    description = tmp_path / "scan" / "0" / ".zarray"
    description.write_text(json.dumps({**json.loads(description.read_text()), "fill_value": None}))
    (tmp_path / "scan" / "0" / "1.0.0.0").unlink()
    with pytest.raises(ValueError, match=r"scan: chunk 0/1.0.0.0 is missing"):
        whole(location)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: b"x" * len(data)], ids=["short", "other"])
def test_damaged_chunks(tmp_path: Path, version: str, damage: Any) -> None:
    location = write(str(tmp_path / "scan"), version=version)
    chunk = "0/1.1.2.1" if version == "0.4" else "0/c/1/1/2/1"
    path = tmp_path / "scan" / chunk
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=rf"scan: chunk {chunk} is damaged"):
        whole(location)


class FlakyFileSystem(MemoryFileSystem):
    """Memory behind a connection that fails the next few times."""

    protocol = "flaky"
    failures = 0

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **options: Any) -> bytes:
        if FlakyFileSystem.failures > 0 and "/c/" in path:
            FlakyFileSystem.failures -= 1
            raise TimeoutError("no route to host")
        return super().cat_file(path, start, end, **options)


fsspec.register_implementation("flaky", FlakyFileSystem, clobber=True)


def test_network_errors(impatient: None) -> None:
    location = write("flaky://scans/two.zarr")
    FlakyFileSystem.failures = 2
    np.testing.assert_array_equal(whole(location), VALUES.transpose(0, 3, 2, 1))
    assert FlakyFileSystem.failures == 0
    FlakyFileSystem.failures = 10**6
    with pytest.raises(OSError, match=r"flaky://scans/two.zarr: chunk 1/c/.* after 4 attempts: .*no route to host"):
        whole(location, spacing=(1.3, 1.3, 3.0))
    FlakyFileSystem.failures = 0


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize(
    ("old", "new"),
    [('"axes"', '"axed"'), ('"name"', '"nama"'), ('"path"', '"pat"'), ('"scale"', '"sca'), ('"scale"', '"scall"'), ("2.0", "0.0"),
     ('"path": "0"', '"path": "7"'), ("[", "{"), ("2.0", "NaN"), ('"path": "0"', '"path": 3'), ("2.0", '"x"'),
     ("2.0", "9" * 400)],
)  # fmt: skip
def test_damaged_metadata_of_a_folder_are_named_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, old: str, new: str
) -> None:
    location = write(str(tmp_path / "scan"), version=version, levels=1)
    monkeypatch.setattr("time.sleep", None)  # would fail if it were called: there is no connection to wait for
    file = tmp_path / "scan" / (".zattrs" if version == "0.4" else "zarr.json")
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new, 1))
    with pytest.raises((ValueError, FileNotFoundError), match="scan"):
        open_volume(location)


@pytest.mark.parametrize("old", ['"shape"', '"data_type"', '"chunk_shape"', '"codecs"', "21", '"fill_value"'])
def test_damaged_metadata_of_an_array_are_named_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str) -> None:
    location = write(str(tmp_path / "scan"), levels=1)
    monkeypatch.setattr("time.sleep", None)
    file = tmp_path / "scan" / "0" / "zarr.json"
    file.write_text(file.read_text().replace(old, '"x"', 1))
    with pytest.raises((ValueError, FileNotFoundError), match="scan"):
        whole(location)


@pytest.mark.parametrize(("key", "value"), [("shape", 10**20), ("chunk_shape", 10**20), ("chunk_shape", 0), ("shape", 2**50)])
def test_more_voxels_than_can_be_counted(tmp_path: Path, key: str, value: int) -> None:
    location = write(str(tmp_path / "scan"), levels=1)
    file = tmp_path / "scan" / "0" / "zarr.json"
    metadata = json.loads(file.read_text())
    (metadata if key == "shape" else metadata["chunk_grid"]["configuration"])[key][2] = value
    file.write_text(json.dumps(metadata))
    with pytest.raises(ValueError, match=r"scan: 0 has (the shape .*fetch it again|more chunks than the memory has room for)"):
        open_volume(location).gather(torch.tensor([[5, 5, 5]]), 1)


def test_a_spacing_beyond_64_bits(tmp_path: Path) -> None:
    """A whole number of the metadata, which numpy would keep as an object."""
    location = write(str(tmp_path / "scan"), levels=1)
    file = tmp_path / "scan" / "zarr.json"
    file.write_text(file.read_text().replace("2.0", str(10**30), 1))
    assert open_volume(location).affine[2, 2] == 1e30


def test_refused_stores(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_volume("memory://nothing/here")
    zarr.create_group(str(tmp_path / "plain"))
    with pytest.raises(ValueError, match="plain has no multiscales metadata"):
        open_volume(tmp_path / "plain")
    series = write(str(tmp_path / "series"), np.zeros((3, 4, 4), "u1"), names="tyx")
    with pytest.raises(ValueError, match=r"series: axes \['t', 'y', 'x'\], shape \(3, 4, 4\)"):
        open_volume(series)
    with pytest.raises(ValueError, match="data type complex64"):
        open_volume(write(str(tmp_path / "complex"), np.zeros((4, 4), "c8"), names="yx"))
    with pytest.raises(ValueError, match="missing_chunks='skip'"):
        open_volume(series, missing_chunks="skip")


@pytest.mark.parametrize("spacing", [0, -1.0, float("nan"), (1.0, 1.0), ((1.0, 1.0, 1.0),)])
def test_a_spacing_that_is_none(tmp_path: Path, spacing: Any) -> None:
    """The fault of the caller, not of the store."""
    location = write(str(tmp_path / "scan"), levels=1)
    with pytest.raises(ValueError, match=r"scan: spacing=") as caught:
        open_volume(location, spacing=spacing)
    assert "fetch it again" not in str(caught.value)


def test_a_chunk_cache_of_no_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONAI_CPIC_CHUNK_CACHE", "2G")
    with pytest.raises(ValueError, match="MONAI_CPIC_CHUNK_CACHE='2G' is not a number of MiB"):
        whole(write(str(tmp_path / "scan"), levels=1, chunks=(1, 3, 7, 5)))
