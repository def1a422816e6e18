"""Broken MetaImage files, for some of which SimpleITK crashes or returns arbitrary memory: they are looked at first."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from monai_cpic.data.readers.inflated import inflated_size
from monai_cpic.data.readers.itk_files import HEADER, check_bytes, positive_numbers

__all__ = ["check_metaimage"]

ITEM_SIZES = {
    **dict.fromkeys(("CHAR", "UCHAR"), 1),
    **dict.fromkeys(("SHORT", "USHORT"), 2),
    **dict.fromkeys(("INT", "UINT", "LONG", "ULONG", "FLOAT"), 4),
    **dict.fromkeys(("LONG_LONG", "ULONG_LONG", "DOUBLE"), 8),
}
KEY = re.compile(r"[A-Za-z]\w*", re.ASCII)
LAST = "ElementDataFile"  # entry of a header, after which the voxels begin


@dataclass(frozen=True)
class _Header:
    path: Path
    entries: dict[str, str]
    size: int  # bytes

    def whole(self, key: str, default: str | None = None) -> list[int]:
        """The positive whole numbers of an entry."""
        return positive_numbers(self.path, key, self.entries.get(key, default))

    def true(self, key: str) -> bool:
        return self.entries.get(key, "False").startswith(("T", "t", "1"))


def check_metaimage(path: Path, data: Sequence[Path]) -> None:
    """Check the header of a MetaImage file, and that its voxels are complete; compressed voxels are unpacked for their checksum.

    Args:
        path: ``.mha`` or ``.mhd``.
        data: its data files; none if the voxels are in the same file.

    Raises:
        ValueError: if the file is damaged or truncated.
    """
    header = _read(path)
    axes, sizes, channels = header.whole("NDims"), header.whole("DimSize"), header.whole("ElementNumberOfChannels", "1")
    if len(channels) > 1 or [len(sizes)] != axes or len(sizes) > 4:
        raise ValueError(
            f"{path} is damaged: its {axes} axes have the sizes {sizes}, its voxels {channels} channels; fetch it again"
        )
    kind = header.entries.get("ElementType", "").removeprefix("MET_").removesuffix("_ARRAY")
    if kind not in ITEM_SIZES:
        raise ValueError(f"{path} has the element type {header.entries.get('ElementType')}; a volume has real numbers")
    voxels = math.prod(sizes) * channels[0]
    needed = voxels * ITEM_SIZES[kind]
    if header.true("CompressedData"):
        _check_stream(header, data, needed)
        return
    found = sum(file.stat().st_size for file in data) if data else path.stat().st_size - header.size
    shortest = needed if header.true("BinaryData") else min(needed, 2 * voxels - 1)  # text: a digit and a space
    longest = needed if header.true("BinaryData") and "HeaderSize" not in header.entries else math.inf
    check_bytes(path, found, needed, shortest, longest)


def _read(path: Path) -> _Header:
    entries: dict[str, str] = {}
    with path.open("rb") as file:
        while LAST not in entries:
            line = file.readline(HEADER)
            key, separator, value = (part.strip(" \t\r\n") for part in line.decode("latin-1").partition("="))
            blank, named = not (key or separator), separator and KEY.fullmatch(key)
            if not line or file.tell() > HEADER or key in entries or not (blank or named):
                raise ValueError(
                    f"{path} is truncated, damaged or no MetaImage file: {line[:50]!r} in its header; fetch it again"
                )
            if key:
                entries[key] = value
        return _Header(path, entries, file.tell())


def _check_stream(header: _Header, data: Sequence[Path], needed: int) -> None:
    """Unpack compressed voxels; SimpleITK would print that it cannot, and go on."""
    if len(data) > 1 or header.entries.get("HeaderSize", "0") != "0":
        raise ValueError(f"{header.path} has compressed voxels in several files or after a header of theirs: save it anew")
    length = header.whole("CompressedDataSize")[0]  # without it, SimpleITK fails as silently
    file, begin = (data[0], 0) if data else (header.path, header.size)
    check_bytes(header.path, inflated_size(header.path, file, begin, length, limit=needed), needed)
