"""OME-Zarr stores that are broken, refused or behind a failing connection."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import torch
import zarr
from fsspec.implementations.memory import MemoryFileSystem
from ome_zarr import VALUES, whole, write

from monai_cpic.data import open_volume
from monai_cpic.data.readers import zarr_store


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zarr_store, "DELAYS", (0.0, 0.0, 0.0))


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
