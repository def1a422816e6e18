"""The slices of a DICOM series: their files, order and geometry, from the headers only."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from monai_cpic.data.affine import check_affine
from monai_cpic.data.readers.base import ras_affine
from monai_cpic.data.readers.dicom_header import STORED, Slice, read_header

__all__ = ["Series", "order_slices", "read_headers"]

logger = logging.getLogger(__name__)

SUFFIXES = (".dcm", ".dicom", ".ima")
TAKEN = {  # by GDCM, for what a header lacks
    "0020,0037": "ImageOrientationPatient: slices are taken as axial",
    "0028,0030": "PixelSpacing: pixels are taken as 1 mm wide",
}
OTHER = re.compile(r"\.[a-z][a-z0-9]*", re.IGNORECASE)  # suffix of a file that is something else; UIDs end in ".1"


@dataclass(frozen=True)
class Series:
    """Slices in their order, and the affine from ``(column, row, slice)`` to RAS millimetres, float64 ``[4, 4]``."""

    slices: tuple[Slice, ...]
    affine: NDArray[Any]


def read_headers(folder: Path, files: Sequence[Path], series_uid: str | None = None) -> list[Slice]:
    """Read the headers of one series in a folder.

    Args:
        folder: of the slices, for messages.
        files: in it; those whose suffix says that they are not DICOM are skipped, with a warning that names them.
        series_uid: the series to read, if there are several.

    Raises:
        ValueError: if there is no DICOM file, several series or not the one asked for, a file of several frames, or one that may
            be a damaged slice.
    """
    slices, others = [], []
    for path in files:
        if not path.is_file():
            raise ValueError(f"{path} is not a file, or a link to none: a slice may be missing; fetch it again, or remove it")
        if _looks_like_dicom(path):
            slices.append(read_header(path))
        elif path.name == "DICOMDIR" or OTHER.fullmatch(path.suffix):
            others.append(path.name)
        else:
            raise ValueError(f"{path} is not DICOM: it may be a damaged slice; fetch it again, or move it elsewhere")
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
        frames = piece.size[2] if len(piece.size) > 2 else 1
        if frames > 1 or "Enhanced" in piece.kind:
            raise ValueError(
                f"{piece.path} holds {frames} frames ({piece.kind}); one slice per file is expected: convert it, such as to NIfTI"
            )
    return slices


def order_slices(folder: Path, slices: list[Slice], spacing_tolerance: float = 0.1) -> Series:
    """Sort slices along their normal; without positions by instance number; without these by the number in the file name.

    Args:
        folder: their folder, for messages.
        slices: from :func:`read_headers`.
        spacing_tolerance: the largest accepted deviation of a slice distance from their median, relative to it.

    Raises:
        ValueError: if sizes, spacings, directions or kinds of stored numbers differ, or slices are repeated, missing, unevenly
            spaced or beside each other.  What is not known of the first two is logged.
    """
    _check_alike(folder, "size", {piece.path: piece.size for piece in slices})
    _check_alike(folder, "spacing", {piece.path: tuple(np.round(piece.spacing, 4).tolist()) for piece in slices})
    _check_alike(folder, "direction", {piece.path: tuple(np.round(piece.direction, 4).tolist()) for piece in slices})
    _check_alike(folder, "photometric interpretation", {piece.path: piece.photometric for piece in slices})
    _check_alike(folder, f"stored numbers ({', '.join(STORED.values())})", {piece.path: piece.stored for piece in slices})
    _check_alike(folder, "entries in their headers", {piece.path: piece.entries for piece in slices})
    first = slices[0]
    if first.position is not None and (lacking := [what for tag, what in TAKEN.items() if tag not in first.entries]):
        logger.warning("%s: the headers lack %s", folder, " and ".join(lacking))
    axes = np.array(first.direction).reshape(3, 3)
    if first.position is not None:
        normal = axes[:, 2]
        along = {piece.path: float(np.dot(piece.position, normal)) for piece in slices if piece.position is not None}
        slices = sorted(slices, key=lambda piece: along[piece.path])
        distance = _even_distance(folder, slices, [along[piece.path] for piece in slices], spacing_tolerance, "mm")
        distance = distance or first.thickness or 1.0
        positions = np.array([piece.position for piece in slices])
        axes[:, 2] += _drift(folder, slices, positions @ axes[:, :2], distance, spacing_tolerance) @ axes[:, :2].T / distance
        origin = positions[0]
    else:
        numbers = _numbers(folder, slices)
        slices = sorted(slices, key=lambda piece: numbers[piece.path])
        _even_distance(folder, slices, [float(numbers[piece.path]) for piece in slices], 0.0, "in the numbering")
        distance, origin = first.thickness or 1.0, np.zeros(3)
        logger.warning("%s: slices without ImagePositionPatient, sorted by number and %g mm apart", folder, distance)
    affine = ras_affine(axes, (*first.spacing, distance), origin)
    check_affine(affine, str(folder))
    return Series(tuple(slices), affine)


def _check_alike(folder: Path, what: str, values: Mapping[Path, Hashable]) -> None:
    kinds = Counter(values.values())
    if len(kinds) > 1:
        usual = kinds.most_common(1)[0][0]
        odd = next(path for path, value in values.items() if value != usual)
        raise ValueError(
            f"{folder}: slices of different {what}: {dict(kinds)}, the first odd one is {odd.name}; separate the series, or "
            "fetch that file again"
        )


def _looks_like_dicom(path: Path) -> bool:
    """By name or file mark (PS3.10), not by what GDCM can read: a truncated slice must be an error, not skipped."""
    if path.name == "DICOMDIR":
        return False
    if path.suffix.lower() in SUFFIXES:
        return True
    with path.open("rb") as file:
        marked = file.read(132)[128:] == b"DICM"
    return marked or SimpleITK.ImageFileReader.GetImageIOFromFileName(str(path)) == "GDCMImageIO"


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


def _drift(folder: Path, slices: list[Slice], beside: NDArray[Any], distance: float, tolerance: float) -> NDArray[Any]:
    """How far each slice lies beside the one before, in mm along rows and columns: not at all, or evenly if the gantry is tilted.

    Args:
        beside: coordinates of the slices along the axes of their plane, ``[N, 2]``.
    """
    if len(slices) == 1:
        return np.zeros(2)
    drift = (beside[-1] - beside[0]) / (len(slices) - 1)
    gaps = np.linalg.norm(np.diff(beside, axis=0) - np.median(np.diff(beside, axis=0), axis=0), axis=1)
    off_line = np.linalg.norm(beside - beside[0] - drift * np.arange(len(slices))[:, None], axis=1).max()
    k = int(gaps.argmax())
    names = f"{slices[k].path.name} and {slices[k + 1].path.name}"
    if off_line > tolerance * distance + 1e-3:
        raise ValueError(
            f"{folder}: {names} lie beside each other by {gaps[k]:g} mm more than other neighbours; correct the positions, "
            "separate the series, or raise spacing_tolerance"
        )
    if np.linalg.norm(drift) > distance:
        raise ValueError(
            f"{folder}: {names} lie {np.linalg.norm(drift):g} mm beside each other and {distance:g} mm apart, more than any "
            "gantry is tilted; correct the positions"
        )
    return drift
