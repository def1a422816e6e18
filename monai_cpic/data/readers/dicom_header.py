"""The header of one DICOM slice."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import SimpleITK
from numpy.typing import NDArray
from pydicom.dataelem import RawDataElement
from pydicom.filereader import read_dataset, read_preamble
from pydicom.uid import DeflatedExplicitVRLittleEndian

from monai_cpic.data.cache.expansion import check_expansion
from monai_cpic.data.readers.base import damaged
from monai_cpic.data.readers.inflated import NEITHER, inflated_size

__all__ = ["STORED", "Slice", "read_header"]

CLASS, MODALITY, SERIES_UID, INSTANCE_NUMBER, POSITION = "0008|0016", "0008|0060", "0020|000e", "0020|0013", "0020|0032"
SPACING = "0028|0030"
GEOMETRY = {POSITION: 3, "0020|0037": 6, SPACING: 2}  # numbers of position, orientation and spacing
SLICE_THICKNESS, SPACING_BETWEEN_SLICES = "0018|0050", "0018|0088"
PHOTOMETRIC, INTERCEPT, SLOPE = "0028|0004", "0028|1052", "0028|1053"
STORED = {"0028|0100": "BitsAllocated", "0028|0101": "BitsStored", "0028|0102": "HighBit", "0028|0103": "PixelRepresentation"}
UNDEFINED = 0xFFFFFFFF  # length of an element that ends with a mark


@dataclass(frozen=True)
class Slice:
    """The header of a file.  Lengths are in mm, coordinates in LPS."""

    path: Path
    kind: str  # of object, such as "CT Image Storage"
    series: str
    size: tuple[int, ...]
    spacing: tuple[float, float]
    direction: tuple[float, ...]
    position: tuple[float, ...] | None
    instance: int | None
    thickness: float | None
    modality: str | None
    photometric: str
    stored: tuple[int, ...]  # the entries of STORED
    rescale: tuple[float, float]  # slope and intercept
    entries: tuple[str, ...]  # those of geometry and rescaling that the header has

    def true_values(self, decoded: NDArray[Any]) -> NDArray[Any]:
        """What SimpleITK decodes, without its inversion of MONOCHROME1: how a value is shown says nothing about what it is.

        SimpleITK subtracts the stored number from the largest one (from -1, if it has a sign), and rescales then.
        """
        if self.photometric != "MONOCHROME1":
            return decoded
        _, bits, _, signed = self.stored
        slope, intercept = self.rescale
        largest = -1 if signed else 2**bits - 1
        return slope * largest + 2 * intercept - decoded.astype(np.float64)


def read_header(path: Path) -> Slice:
    """Read the header of a slice, and check that its voxels are there.

    Raises:
        ValueError: if the file is truncated or damaged, a number in it is none, it is a colour image, or it unpacks to far more
            than its size.
    """
    _check_inflated(path)
    found = _voxel_bytes(path)
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(path))
    reader.LoadPrivateTagsOff()
    with damaged(str(path), "is truncated or not DICOM"):
        reader.ReadImageInformation()
    if reader.GetNumberOfComponents() > 1:
        raise ValueError(f"{path} is a colour image; slices of a scan have one channel: move the file elsewhere")

    def text(tag: str) -> str:
        return reader.GetMetaData(tag).strip() if reader.HasMetaDataKey(tag) else ""

    def numbers(tag: str, count: int) -> list[float]:
        """``count`` numbers, or none if the header has none; GDCM has defaults for what it cannot read."""
        if not text(tag):
            return []
        try:
            values = [float(word) for word in text(tag).split("\\")]
        except ValueError:
            values = []
        if len(values) != count or not all(map(math.isfinite, values)):
            kind = "a number" if count == 1 else f"{count} numbers"
            raise ValueError(f"{path}: {text(tag)!r} in ({tag.replace('|', ',')}) is not {kind}; correct the header")
        return values

    def number(tag: str) -> float | None:
        return next(iter(numbers(tag, 1)), None)

    for tag, count in GEOMETRY.items():
        found_there = numbers(tag, count)
        if tag == SPACING and found_there and min(found_there) <= 0:
            raise ValueError(f"{path}: a voxel of {text(tag)!r} mm has no size; correct PixelSpacing in the header")
    stored = tuple(int(number(tag) or 0) for tag in STORED)
    needed = math.prod(reader.GetSize()) * stored[0] // 8
    if found < needed:
        raise ValueError(f"{path} is truncated: it has {found} bytes of voxels, its header announces {needed}; fetch it again")
    check_expansion(str(path), path.stat().st_size, needed)
    slope, intercept = number(SLOPE), number(INTERCEPT)
    if slope == 0:
        raise ValueError(f"{path}: the rescale slope is 0, so that all voxels are equal; correct the header")
    instance = number(INSTANCE_NUMBER)
    thickness = number(SPACING_BETWEEN_SLICES) or number(SLICE_THICKNESS)
    return Slice(
        path,
        pydicom.uid.UID(text(CLASS)).name,
        text(SERIES_UID),
        reader.GetSize(),
        reader.GetSpacing()[:2],
        reader.GetDirection(),
        reader.GetOrigin() if text(POSITION) else None,
        None if instance is None else int(instance),
        None if thickness is None else abs(thickness),
        text(MODALITY) or None,
        text(PHOTOMETRIC),
        stored,
        (1.0 if slope is None else slope, intercept or 0.0),
        tuple(tag.replace("|", ",") for tag in (*GEOMETRY, SLOPE, INTERCEPT) if text(tag)),
    )


def _check_inflated(path: Path) -> None:
    """Refuse a slice that becomes far larger than it looks, before pydicom and GDCM inflate all of it."""
    with path.open("rb") as file, damaged(str(path), "is truncated or not DICOM"):
        read_preamble(file, force=True)
        meta = read_dataset(file, is_implicit_VR=False, is_little_endian=True, stop_when=lambda tag, _, __: tag >> 16 != 2)
        deflated, begin = meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian, file.tell()
    if deflated:
        inflated_size(path, path, begin, window=NEITHER)


def _voxel_bytes(path: Path) -> float:
    """The number of bytes of voxels; infinite if they are compressed, since damage is noticed then when they are decoded.

    GDCM silently takes arbitrary memory for voxels that are too few, and takes and never frees as much memory as an element
    announces: all elements must be there before it sees the file.
    """
    with damaged(str(path), "is truncated or not DICOM"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about values of other elements
        warnings.filterwarnings("error", "End of file reached before delimiter")  # what follows is lost, and GDCM may crash
        dataset = pydicom.dcmread(path, force=True)
        meta = {element.keyword: element.value for element in dataset.file_meta}  # all of them are decoded
        if dataset.preamble and "TransferSyntaxUID" not in meta:
            raise ValueError("it has no transfer syntax")
        for element in map(dataset.get_item, dataset.keys()):
            if isinstance(element, RawDataElement) and len(element.value or b"") < element.length != UNDEFINED:
                raise ValueError(f"the element {element.tag} is not complete")
        voxels = dataset.get_item("PixelData")
        encapsulated = "TransferSyntaxUID" in meta and meta["TransferSyntaxUID"].is_encapsulated
    found = 0 if voxels is None or voxels.value is None else len(voxels.value)
    return math.inf if found and encapsulated else found
