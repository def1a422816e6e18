"""DICOM slices that are truncated or damaged."""

from __future__ import annotations

from pathlib import Path

import pytest
from dicom_slices import refused, write_series
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
)

from monai_cpic.data import open_volume


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


@pytest.mark.parametrize("syntax", [ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_short_voxels_in_any_transfer_syntax(tmp_path: Path, cache: Path, syntax: UID) -> None:
    """With an icon that is larger than the slice."""

    def shorten(dataset: FileDataset, number: int) -> None:
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset["PixelData"].VR = "OW"
        icon = Dataset()
        icon.PixelData = bytes(600)
        icon["PixelData"].VR = "OW"
        dataset.IconImageSequence = [icon]
        if number == 2:
            dataset.PixelData = dataset.PixelData[:-20]

    refused(write_series(tmp_path / "scan", edit=shorten), cache, r"3\.dcm is truncated: it has 40 bytes of voxels")


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        (b"\x28\0\x11\0US\x02\0", b"\x28\0\x11\0US\x02\x23", r"element \(0028,0011\) is not complete"),
        (b"\x02\0\x01\0OB\0\0\x02\0\0\0", b"\x02\0\x01\0OB\0\0\xff\xff\xff\0", "it has no transfer syntax"),
        (b"\x02\0\x03\0UI", b"\x02\0\x03\0EW", "Unknown Value Representation 'EW'"),
    ],
)
def test_what_gdcm_would_take_memory_for(tmp_path: Path, cache: Path, old: bytes, new: bytes, fault: str) -> None:
    """As much as a damaged length says, for ever."""
    folder = write_series(tmp_path / "scan")
    content = (folder / "2.dcm").read_bytes()
    assert old in content
    (folder / "2.dcm").write_bytes(content.replace(old, new, 1))
    refused(folder, cache, rf"2\.dcm is truncated or not DICOM: .*{fault}")


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


def test_a_file_that_may_be_a_slice(tmp_path: Path, cache: Path) -> None:
    folder = write_series(tmp_path / "scan")
    last = (folder / "6.dcm").rename(folder / "I6")
    content = last.read_bytes()
    last.write_bytes(b"x" * 200 + content[200:])
    refused(folder, cache, r"I6 is not DICOM: it may be a damaged slice")
    last.unlink()
    (folder / "6.dcm").symlink_to(tmp_path / "gone.dcm")
    refused(folder, cache, r"6\.dcm is not a file, or a link to none")
