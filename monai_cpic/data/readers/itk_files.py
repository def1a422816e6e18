"""The data files that the header of a MetaImage or NRRD file names, and whether they have as many bytes as it announces."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["HEADER", "check_bytes", "data_files", "positive_numbers"]

HEADER = 2**20  # bytes: more than any header has
DATA_FILE = re.compile(r"^(?:ElementDataFile\s*=|(?i:data ?file)\s*:)[ \t]*(.*?)\s*$", re.MULTILINE)
MOST = 100_000  # slices
POSITIVE = re.compile(r"[1-9]\d{0,11}(\s+[1-9]\d{0,11})*")


def data_files(path: Path, outside: bool = False) -> list[Path]:
    """The files that hold the voxels, as far as they are not in the file itself: one, a list, or a numbered series.

    Args:
        path: ``.mha``, ``.mhd``, ``.nrrd`` or ``.nhdr``.
        outside: whether they may lie outside the folder of ``path``.

    Raises:
        ValueError: if they do, or one of them is not a file.
    """
    with path.open("rb") as content:
        header = content.read(HEADER).decode("latin-1")
    if header.startswith("NRRD"):
        header = re.split(r"\n\r?\n", header, maxsplit=1)[0]  # then come the voxels
    found = DATA_FILE.search(header)
    names = _names(path, found[1], header[found.end() :]) if found else []
    files = [path.parent / name for name in names]
    for name, file in zip(names, files, strict=True):
        if not outside and (".." in Path(name).parts or path.parent not in file.parents):
            raise ValueError(
                f"{path} reads its voxels from {file}, outside its folder; correct the header, or allow it with outside=True"
            )
        if not file.is_file():
            raise ValueError(f"{path} is without its data file: {file} is not a file; fetch it again")
    return files


def _names(path: Path, value: str, rest: str) -> list[str]:
    """The names of the files, from the entry of the header and the lines after it."""
    if value in ("", "LOCAL", "Local", "local"):
        return []
    words = value.split()
    if words[0] == "LIST":
        return [line.strip() for line in rest.splitlines() if line.strip()]
    if len(words) < 4 or "%" not in words[0]:
        return [value]
    try:
        first, last, step = (int(word) for word in words[1:4])
        numbers = range(first, last + (1 if step > 0 else -1), step)
        if len(numbers) > MOST:
            raise ValueError(f"{len(numbers)} files")
        return [words[0] % number for number in numbers]
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {value!r} does not name data files: {error}; correct the header") from error


def positive_numbers(path: Path, entry: str, value: str | None) -> list[int]:
    """The whole numbers, all above 0, in an entry of a header.

    Args:
        path: of the header, for messages.
        entry: its name, for messages.
        value: None if there is none.

    Raises:
        ValueError: if the value is anything else.
    """
    if value is None or not POSITIVE.fullmatch(value):
        raise ValueError(
            f"{path} is truncated or damaged: {entry} is {value}, where positive numbers are expected; fetch it again"
        )
    return [int(word) for word in value.split()]


def check_bytes(path: Path, found: int, needed: int, shortest: float | None = None, longest: float | None = None) -> None:
    """Check the number of bytes of voxels.

    Args:
        path: of the header, for messages.
        found: in the files, after unpacking.
        needed: by the sizes and the type in the header.
        shortest: what is accepted; default: what is needed.
        longest: likewise.

    Raises:
        ValueError: if there are fewer or more.
    """
    shortest, longest = needed if shortest is None else shortest, needed if longest is None else longest
    if not shortest <= found <= longest:
        fault = "truncated" if found < shortest else "damaged"
        raise ValueError(f"{path} is {fault}: it has {found} bytes of voxels, its header announces {needed}; fetch it again")
