"""NRRD files whose compressed voxels are damaged, of which SimpleITK reads what it can."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from monai_cpic.data.readers.itk_files import HEADER, unpacked_size

__all__ = ["check_nrrd"]

END = re.compile(rb"\n\r?\n")
GZIP = re.compile(rb"^encoding:\s*(?:gz|gzip)\s*$", re.MULTILINE | re.IGNORECASE)
SKIP = re.compile(rb"^(?:line|byte) ?skip:", re.MULTILINE | re.IGNORECASE)


def check_nrrd(path: Path, data: Sequence[Path]) -> None:
    """Unpack compressed voxels for their checksum; what follows something that is to be skipped is left to SimpleITK.

    Args:
        path: ``.nrrd`` or ``.nhdr``.
        data: its data files; none if the voxels are in the same file.

    Raises:
        ValueError: if the voxels are damaged or truncated.
    """
    with path.open("rb") as file:
        content = file.read(HEADER)
    end = END.search(content)
    header = content[: end.start() + 1] if end else content
    if not GZIP.search(header) or SKIP.search(header):
        return
    for file_of_voxels in data or [path]:
        unpacked_size(path, file_of_voxels, 0 if data or end is None else end.end())
