"""NRRD files that are damaged, of which SimpleITK reads what it can."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

from monai_cpic.data.readers.inflated import inflated_size
from monai_cpic.data.readers.itk_files import HEADER, check_bytes, positive_numbers

__all__ = ["check_nrrd"]

END = re.compile(r"\n\r?\n")  # of a header, after which the voxels begin
FIELD = re.compile(r"^(sizes|type|encoding|(?:line|byte) ?skip)\s*:\s*(.*?)\s*$", re.MULTILINE | re.IGNORECASE)
ITEM_SIZES = {
    **dict.fromkeys(("signed char", "int8", "int8_t", "uchar", "unsigned char", "uint8", "uint8_t"), 1),
    **dict.fromkeys(("short", "short int", "signed short", "signed short int", "int16", "int16_t"), 2),
    **dict.fromkeys(("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"), 2),
    **dict.fromkeys(("int", "signed int", "int32", "int32_t", "uint", "unsigned int", "uint32", "uint32_t", "float"), 4),
    **dict.fromkeys(
        ("longlong", "long long", "long long int", "signed long long", "signed long long int", "int64", "int64_t"), 8
    ),
    **dict.fromkeys(("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t", "double"), 8),
}


def check_nrrd(path: Path, data: Sequence[Path]) -> None:
    """Check the sizes in the header, and that there are as many voxels; compressed ones are unpacked for their checksum.

    How many there are of text, or after something that is to be skipped, is left to SimpleITK.

    Args:
        path: ``.nrrd`` or ``.nhdr``.
        data: its data files; none if the voxels are in the same file.

    Raises:
        ValueError: if the file is damaged or truncated.
    """
    with path.open("rb") as file:
        content = file.read(HEADER).decode("latin-1")
    end = END.search(content)
    found = FIELD.findall(content[: end.start() + 1] if end else content)
    fields = {key.lower(): value for key, value in found}
    kind, encoding = fields.get("type", ""), fields.get("encoding", "")
    if len(fields) < len(found):
        raise ValueError(f"{path} is damaged: fields of its header are there twice; fetch it again")
    sizes = positive_numbers(path, "sizes", fields.get("sizes"))
    if kind.lower() not in ITEM_SIZES:
        raise ValueError(f"{path} has the type {kind!r}; a volume has real numbers")
    needed = math.prod(sizes) * ITEM_SIZES[kind.lower()]
    begin = 0 if data or end is None else end.end()
    if encoding.lower() not in ("raw", "gz", "gzip") or any("skip" in key for key in fields):
        return
    if encoding.lower() == "raw":
        bytes_of_voxels = sum(file.stat().st_size for file in data or [path]) - begin
    else:
        bytes_of_voxels = sum(inflated_size(path, file, begin, limit=needed) for file in data or [path])
    check_bytes(path, bytes_of_voxels, needed)
