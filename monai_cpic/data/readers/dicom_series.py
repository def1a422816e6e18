"""The slices of a DICOM series: their files, order and geometry, from the headers only."""

from __future__ import annotations

import logging
import math
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from monai_cpic.data.readers.base import ras_affine

__all__ = ["Series", "Slice", "order_slices", "read_headers"]

logger = logging.getLogger(__name__)

SERIES_UID, INSTANCE_NUMBER, POSITION = "0020|000e", "0020|0013", "0020|0032"
SLICE_THICKNESS, SPACING_BETWEEN_SLICES = "0018|0050", "0018|0088"
BITS_ALLOCATED, MODALITY = "0028|0100", "0008|0060"
PIXEL_DATA = re.compile(rb"\xe0\x7f\x10\x00(?:O[BW]\0\0)?(.{4})", re.DOTALL)  # little endian: tag, VR if explicit, length


@dataclass(frozen=True)
class Slice:
    """The header of a file.  Lengths are in mm, coordinates in LPS."""

    path: Path
    series: str
    size: tuple[int, ...]
    spacing: tuple[float, float]
    direction: tuple[float, ...]
    position: tuple[float, ...] | None
    instance: int | None
    thickness: float | None
    modality: str | None


@dataclass(frozen=True)
class Series:
    """Slices in their order, and the affine from ``(column, row, slice)`` to RAS millimetres, float64 ``[4, 4]``."""

    slices: tuple[Slice, ...]
    affine: NDArray[Any]


def read_headers(folder: Path, series_uid: str | None = None) -> list[Slice]:
    """Read the headers of one series in a folder.

    Args:
        folder: of the slices; files that are not DICOM are skipped, with a warning that names them.
        series_uid: the series to read, if there are several.

    Raises:
        ValueError: if there is no DICOM file, several series or not the one asked for, or a file of several frames.
    """
    slices, others = [], []
    for path in sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")):
        if _looks_like_dicom(path):
            slices.append(_read_header(path))
        else:
            others.append(path.name)
    if not slices:
        raise ValueError(f"{folder} holds no DICOM file (of {len(others)} files): name the folder of the slices of one scan")
    if others:
        logger.warning("%s: %d files are not DICOM and were left out: %s", folder, len(others), ", ".join(others))
    counts = Counter(piece.series for piece in slices)
    listed = ", ".join(f"{uid} ({count} files)" for uid, count in counts.items())
    if series_uid is not None and series_uid not in counts:
        raise ValueError(f"{folder} does not hold the series {series_uid}; it holds {listed}")
    if series_uid is None and len(counts) > 1:
        raise ValueError(f"{folder} holds {len(counts)} series: {listed}; name the one to use with series_uid, or separate them")
    slices = [piece for piece in slices if series_uid in (None, piece.series)]
    for piece in slices:
        if len(piece.size) > 2 and piece.size[2] > 1:
            raise ValueError(f"{piece.path} holds {piece.size[2]} frames; one slice per file is expected")
    return slices


def order_slices(folder: Path, slices: list[Slice], spacing_tolerance: float = 0.1) -> Series:
    """Sort slices along their normal; without positions by instance number; without these by the number in the file name.

    Args:
        folder: their folder, for messages.
        slices: from :func:`read_headers`.
        spacing_tolerance: the largest accepted deviation of a slice distance from their median, relative to it.

    Raises:
        ValueError: if sizes, spacings or directions differ, or slices are repeated, missing or unevenly spaced.
    """
    for what in ("size", "spacing", "direction"):
        kinds = Counter(tuple(np.round(getattr(piece, what), 4).tolist()) for piece in slices)
        if len(kinds) > 1:
            usual = kinds.most_common(1)[0][0]
            odd = next(piece.path for piece in slices if tuple(np.round(getattr(piece, what), 4).tolist()) != usual)
            raise ValueError(
                f"{folder}: slices of different {what}: {dict(kinds)}, the first odd one is {odd.name}; separate the series"
            )
    first = slices[0]
    axes = np.array(first.direction).reshape(3, 3)
    if all(piece.position is not None for piece in slices):
        normal = axes[:, 2]
        along = {piece.path: float(np.dot(piece.position, normal)) for piece in slices if piece.position is not None}
        slices = sorted(slices, key=lambda piece: along[piece.path])
        distance = _even_distance(folder, slices, [along[piece.path] for piece in slices], spacing_tolerance, "mm")
        distance = distance or first.thickness or 1.0
        origin = np.array(slices[0].position)
    else:
        numbers = _numbers(folder, slices)
        slices = sorted(slices, key=lambda piece: numbers[piece.path])
        _even_distance(folder, slices, [float(numbers[piece.path]) for piece in slices], 0.0, "in the numbering")
        distance, origin = first.thickness or 1.0, np.zeros(3)
        logger.warning("%s: slices without ImagePositionPatient, sorted by number and %g mm apart", folder, distance)
    return Series(tuple(slices), ras_affine(axes, (*first.spacing, distance), origin))


def _looks_like_dicom(path: Path) -> bool:
    """By name or file mark (PS3.10), not by what GDCM can read: a truncated slice must be an error, not skipped."""
    if path.name == "DICOMDIR":
        return False
    if path.suffix.lower() in (".dcm", ".dicom", ".ima"):
        return True
    with path.open("rb") as file:
        marked = file.read(132)[128:] == b"DICM"
    return marked or SimpleITK.ImageFileReader.GetImageIOFromFileName(str(path)) == "GDCMImageIO"


def _read_header(path: Path) -> Slice:
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(path))
    reader.LoadPrivateTagsOff()
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise ValueError(f"{path} is truncated or not DICOM: {reason}; fetch the file again") from error
    if reader.GetNumberOfComponents() > 1:
        raise ValueError(f"{path} is a colour image; slices of a scan have one channel: move the file elsewhere")

    def text(tag: str) -> str:
        return reader.GetMetaData(tag).strip() if reader.HasMetaDataKey(tag) else ""

    def number(tag: str) -> float | None:
        try:
            return float(text(tag)) if text(tag) else None
        except ValueError as error:
            raise ValueError(f"{path}: {text(tag)!r} in ({tag.replace('|', ',')}) is not a number; correct the header") from error

    _check_length(path, math.prod(reader.GetSize()) * int(number(BITS_ALLOCATED) or 0) // 8)
    instance = number(INSTANCE_NUMBER)
    thickness = number(SPACING_BETWEEN_SLICES) or number(SLICE_THICKNESS)
    return Slice(
        path,
        text(SERIES_UID),
        reader.GetSize(),
        reader.GetSpacing()[:2],
        reader.GetDirection(),
        reader.GetOrigin() if text(POSITION) else None,
        None if instance is None else int(instance),
        None if thickness is None else abs(thickness),
        text(MODALITY) or None,
    )


def _check_length(path: Path, needed: int) -> None:
    """Check the length of the PixelData element: if it is too short, GDCM silently fills the slice with arbitrary memory."""
    lengths = [int.from_bytes(match[1], "little") for match in PIXEL_DATA.finditer(path.read_bytes())]
    found = max(
        lengths, default=needed
    )  # of icons, the image, chance matches; compressed data has the undefined length, which is the largest
    if found < needed:
        raise ValueError(f"{path} is truncated: it has {found} bytes of voxels, its header announces {needed}; fetch it again")


def _numbers(folder: Path, slices: list[Slice]) -> dict[Path, int]:
    """Instance numbers if they are distinct, else the last number in each file name."""
    instances = {piece.path: piece.instance for piece in slices if piece.instance is not None}
    if len(set(instances.values())) == len(slices):
        return instances
    named = {piece.path: int(found[-1]) for piece in slices if (found := re.findall(r"\d+", piece.path.stem))}
    if len(set(named.values())) != len(slices):
        raise ValueError(
            f"{folder}: the slices have neither positions, nor different instance numbers, nor different numbers in their names; "
            "their order is unknown: number the files"
        )
    return named


def _even_distance(folder: Path, slices: list[Slice], coordinates: list[float], tolerance: float, unit: str) -> float | None:
    """The mean distance of neighbours, after a check that all are alike; None for a single slice."""
    gaps = np.diff(coordinates)
    if not len(gaps):
        return None
    usual = float(np.median(gaps))
    worst = int(np.abs(gaps - usual).argmax())
    if gaps.min() <= 1e-3 * usual or usual <= 0:
        k = int(gaps.argmin())
        names = f"{slices[k].path.name} and {slices[k + 1].path.name}"
        raise ValueError(f"{folder}: {names} lie at the same position; separate the series or remove the copy")
    if abs(gaps[worst] - usual) > tolerance * usual + 1e-3:
        raise ValueError(
            f"{folder}: {slices[worst].path.name} and {slices[worst + 1].path.name} are {gaps[worst]:g} {unit} apart, other "
            f"neighbours {usual:g}: a slice is missing or the spacing is uneven; complete the series, leave the patient out, or "
            "raise spacing_tolerance"
        )
    return float(np.mean(gaps))
