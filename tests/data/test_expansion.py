"""Files that become much larger than they are."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import nibabel
import numcodecs
import numpy as np
import pytest
import SimpleITK
import torch
import zarr.codecs
from dicom_slices import write_series
from hypothesis import given, settings
from hypothesis import strategies as st
from ome_zarr import VALUES, whole, write
from pydicom.dataset import FileDataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, RLELossless

from monai_cpic.data import open_volume
from monai_cpic.data.cache.expansion import check_expansion, unpacked_size

MIB = 2**20


def bomb(path: Path, size: int) -> Path:
    """A volume of zeros, a thousand times smaller than ``size`` bytes."""
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.uint8)
    header.set_data_shape((1024, 1024, size // MIB))
    header.set_data_offset(352)
    with gzip.open(path, "wb", compresslevel=9) as file:
        file.write(header.binaryblock + bytes(4))
        for _ in range(size // MIB):
            file.write(bytes(MIB))
    return path


def test_a_small_nifti_file_does_not_fill_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = bomb(tmp_path / "scan.nii.gz", 32 * MIB)
    monkeypatch.setenv("MONAI_CPIC_EXPANSION_LIMIT", str(16 / 1024))
    with pytest.raises(ValueError, match=r"scan\.nii\.gz unpacks to more than 0\.015625 GiB and 200 times its size.*raise MONAI"):
        open_volume(path, cache_dir=tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())
    monkeypatch.setenv("MONAI_CPIC_EXPANSION_LIMIT", "1")
    assert open_volume(path, cache_dir=tmp_path / "cache").shape == (1, 1024, 1024, 32)


@pytest.mark.parametrize("suffix", [".mha", ".nrrd"])
def test_a_small_file_of_itk_does_not_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    path = tmp_path / f"scan{suffix}"
    SimpleITK.WriteImage(SimpleITK.Image(256, 256, 64, SimpleITK.sitkUInt8), str(path), useCompression=True)
    monkeypatch.setenv("MONAI_CPIC_EXPANSION_LIMIT", str(1 / 1024))
    with pytest.raises(ValueError, match=rf"scan\{suffix} unpacks to more than 0\.0009765625 GiB and 200 times its size"):
        open_volume(path, cache_dir=tmp_path / "cache")
    monkeypatch.delenv("MONAI_CPIC_EXPANSION_LIMIT")
    assert open_volume(path, cache_dir=tmp_path / "cache").shape == (1, 256, 256, 64)


def test_a_small_deflated_slice_does_not_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def deflate(dataset: FileDataset, number: int) -> None:
        dataset.Rows, dataset.Columns, dataset.PixelData = 1500, 1500, bytes(2 * 1500**2)
        dataset.file_meta.TransferSyntaxUID, dataset["PixelData"].VR = DeflatedExplicitVRLittleEndian, "OW"

    folder = write_series(tmp_path / "scan", 2, deflate)
    monkeypatch.setenv("MONAI_CPIC_EXPANSION_LIMIT", str(1 / 1024))
    with pytest.raises(ValueError, match=r"1\.dcm unpacks to more than 0\.0009765625 GiB and 200 times its size"):
        open_volume(folder, cache_dir=tmp_path / "cache")
    monkeypatch.delenv("MONAI_CPIC_EXPANSION_LIMIT")
    assert open_volume(folder, cache_dir=tmp_path / "cache").shape == (1, 1500, 1500, 2)


def test_a_compressed_slice_that_announces_more_than_it_can_hold(tmp_path: Path) -> None:
    def announce(dataset: FileDataset, number: int) -> None:
        dataset.compress(RLELossless, np.zeros((6, 5), np.int16))
        dataset.Rows, dataset.Columns = 30_000, 30_000

    folder = write_series(tmp_path / "scan", 2, announce)
    with pytest.raises(ValueError, match=r"1\.dcm unpacks to more than 0\.5 GiB and 200 times its size"):
        open_volume(folder, cache_dir=tmp_path / "cache")


def test_both_bounds_must_be_exceeded(monkeypatch: pytest.MonkeyPatch) -> None:
    check_expansion("scan", 100, 20_000)  # far above the ratio, but small
    check_expansion("scan", 2**30, 100 * 2**30)  # large, but a hundred times as large as the file
    with pytest.raises(ValueError, match="more than 0.5 GiB"):
        check_expansion("scan", MIB, 2**30)
    monkeypatch.setenv("MONAI_CPIC_EXPANSION_LIMIT", "much")
    with pytest.raises(ValueError, match="MONAI_CPIC_EXPANSION_LIMIT='much' is not a number of GiB"):
        check_expansion("scan", 1, 1)


# ---- chunks ----------------------------------------------------------------------------------------------------

CODECS = [
    numcodecs.Blosc(),
    numcodecs.Zstd(),
    numcodecs.LZ4(),
    numcodecs.GZip(),
    numcodecs.Zlib(),
    numcodecs.BZ2(),
    numcodecs.LZMA(),
]


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.codec_id)
@settings(deadline=None)
@given(size=st.integers(1, 70_000), noise=st.booleans())
def test_sizes_are_those_of_the_decoder(codec: Any, size: int, noise: bool) -> None:
    content = np.random.default_rng(0).integers(0, 256, size, np.uint8) if noise else np.zeros(size, np.uint8)
    packed = codec.encode(content)
    assert unpacked_size(type(codec).__name__, memoryview(packed), 10**6) in (size, None)
    assert len(codec.decode(packed)) == size


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.codec_id)
def test_what_is_no_chunk_is_left_to_the_decoder(codec: Any) -> None:
    for content in (b"", b"abc", bytes(100)):
        unpacked_size(type(codec).__name__, memoryview(content), 10**6)


def test_deflate_is_counted_where_it_can_become_large() -> None:
    packed = memoryview(gzip.compress(bytes(300 * MIB), 1))
    assert MIB < (unpacked_size("GzipCodec", packed, MIB) or 0) < 3 * MIB
    assert unpacked_size("GzipCodec", packed[:1000], MIB) is None


@pytest.mark.parametrize(
    ("version", "codec"),
    [("0.4", "blosc"), ("0.4", "zstd"), ("0.4", "bz2"), ("0.5", "blosc"), ("0.5", "zstd")],  # 0.5 has no bz2
)
def test_a_chunk_of_another_size_is_not_decoded(
    tmp_path: Path, version: str, codec: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    chunk = {"0.4": "0/0.1.2.1", "0.5": "0/c/0/1/2/1"}[version]
    old = {"blosc": numcodecs.Blosc(), "zstd": numcodecs.Zstd(), "bz2": numcodecs.BZ2()}[codec]
    new = {"blosc": zarr.codecs.BloscCodec(), "zstd": zarr.codecs.ZstdCodec()}.get(codec)
    location = write(str(tmp_path / "scan"), version=version, compressors=old if version == "0.4" else new)
    np.testing.assert_array_equal(whole(location), VALUES.transpose(0, 3, 2, 1))
    packed = bytes(old.encode(np.zeros(64 * MIB, np.uint8)))
    (tmp_path / "scan" / chunk).write_bytes(packed)
    monkeypatch.setattr(type(old), "decode", None)  # would fail if it were called
    with pytest.raises(ValueError, match=f"scan: chunk {chunk} is damaged: it unpacks to [0-9]+ bytes or more, 8192 are"):
        whole(location)


def test_a_chunk_that_is_announced_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONAI_CPIC_CHUNK_CACHE", "1")
    location = write(str(tmp_path / "scan"), np.zeros((1, 128, 128, 128), "<i2"), chunks=(1, 128, 128, 128), levels=1)
    with pytest.raises(ValueError, match=r"\(one takes 4194304 bytes\); raise MONAI_CPIC_CHUNK_CACHE"):
        open_volume(location).gather(torch.tensor([[5, 5, 5]]), 1)


def test_a_frame_of_zstandard_that_does_not_say_its_size() -> None:
    assert unpacked_size("ZstdCodec", memoryview(struct.pack("<IBB", 0xFD2FB528, 0, 0x48)), MIB) is None
