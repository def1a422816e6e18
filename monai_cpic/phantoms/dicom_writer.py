"""Writing a simulated CT as a DICOM series."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK

_CT_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.2"


def write_ct_series(
    folder: Path,
    hu: np.ndarray,
    spacing: Sequence[float],
    origin: Sequence[float],
    *,
    patient: str,
    head_first: bool = False,
    intercept: int = -1024,
    compressed: bool = False,
    positions: bool = True,
) -> None:
    """Write one axial slice per file, ``1.dcm`` … ``n.dcm``; equal arguments give equal files, UIDs included.

    Args:
        folder: an existing folder.
        hu: Hounsfield units, int16, [Z, Y, X]: slices from feet to head, rows to the back, columns to the left.
        spacing: distance of slices, rows and columns in mm.
        origin: centre (z, y, x) of the first voxel in patient coordinates (mm to the head, back and left).
        patient: PatientID.
        head_first: number the slices from head to feet instead of from feet to head.
        intercept: RescaleIntercept; the file stores HU - ``intercept``.
        compressed: store the pixels as lossless JPEG.
        positions: with False, ImagePositionPatient and ImageOrientationPatient are missing, as in some real series.
    """
    writer = SimpleITK.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    if compressed:
        writer.UseCompressionOn()
        writer.SetCompressor("JPEG")
    tags = {
        "0008|0008": "ORIGINAL\\PRIMARY\\AXIAL",
        "0008|0016": _CT_IMAGE_STORAGE,
        "0008|0020": "20200101",  # a fixed date and time; otherwise SimpleITK writes the present ones
        "0008|0030": "120000",
        "0008|0060": "CT",
        "0008|0070": "simulated",
        "0010|0010": patient,
        "0010|0020": patient,
        "0018|0050": f"{spacing[0]:g}",
        "0018|0088": f"{spacing[0]:g}",
        "0018|5100": "HFS",
        "0020|000d": _uid(patient, "study"),
        "0020|000e": _uid(patient, "series"),
        "0020|0011": "1",
        "0020|0052": _uid(patient, "frame"),
        "0028|1052": str(intercept),
        "0028|1053": "1",
    }
    for index, pixels in enumerate(hu):
        number = len(hu) - index if head_first else index + 1
        image = SimpleITK.GetImageFromArray(pixels[None])
        image.SetSpacing([float(step) for step in reversed(spacing)])
        image.SetOrigin([float(origin[2]), float(origin[1]), float(origin[0] + index * spacing[0])])
        for tag, value in {**tags, "0008|0018": _uid(patient, str(number)), "0020|0013": str(number)}.items():
            image.SetMetaData(tag, value)
        path = folder / f"{number}.dcm"
        writer.SetFileName(str(path))
        writer.Execute(image)
        if not positions:
            _remove_position(path)


def _uid(patient: str, name: str) -> str:
    """A UID derived from a name (DICOM PS3.5, B.2)."""
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, f'{patient}/{name}').int}"


def _remove_position(path: Path) -> None:
    # SimpleITK always writes the geometry, so it is removed afterwards.
    dataset = pydicom.dcmread(path)
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient"):
        delattr(dataset, keyword)
    dataset.save_as(path)
