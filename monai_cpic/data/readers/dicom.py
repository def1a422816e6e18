"""DICOM series: decoded once, slice by slice, into a file that is mapped from then on."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from monai_cpic.data.cache.unpacked import cached
from monai_cpic.data.readers.base import VOXELS, Reader, damaged, is_url, open_decoded, write_header
from monai_cpic.data.volume import LazyVolume

if TYPE_CHECKING:
    from monai_cpic.data.readers.dicom_header import Slice

__all__ = ["DICOM", "open_dicom"]


def open_dicom(
    folder: str | Path,
    cache_dir: str | Path | None = None,
    series_uid: str | None = None,
    spacing_tolerance: float = 0.1,
) -> LazyVolume:
    """Open the CT or MRI series in a folder as a volume ``[1, X, Y, Z]`` of rescaled values (Hounsfield units for CT).

    Args:
        folder: one file per slice, of any name and any transfer syntax that SimpleITK (GDCM) decodes.
        cache_dir: where decoded voxels are kept (:func:`~monai_cpic.data.cache.unpacked.cached`).
        series_uid: the series to open, if the folder holds several.
        spacing_tolerance: the largest accepted deviation of a slice distance from their median, and of a slice from the line
            through the first and the last, relative to the distance.

    A line that is not at right angles to the slices, of a tilted gantry, gives a sheared affine.  The values of MONOCHROME1 are
    those that are stored, whose meaning does not depend on how they are shown.

    Raises:
        ValueError: if the folder holds no DICOM file or several series, slices differ or are missing, or a file is truncated,
            holds several slices (Enhanced CT and MR), or may be a damaged slice; the message names the file.
    """
    folder = Path(folder)
    files = sorted(path for path in folder.iterdir() if not path.is_dir() and not path.name.startswith("."))

    def unpack(target: Path) -> None:
        # Importing SimpleITK takes a third of a second and 100 MB, which a scan that has been decoded does not need.
        from monai_cpic.data.readers.dicom_series import order_slices, read_headers

        series = order_slices(folder, read_headers(folder, files, series_uid), spacing_tolerance)
        dtype = next(name for name in ("<i2", "<f4") if _decode(series.slices, target / VOXELS, name))
        columns, rows = series.slices[0].size[:2]
        shape = (1, len(series.slices), rows, columns)
        write_header(target, dtype, shape, series.affine, series.slices[0].modality)

    there = [path for path in files if path.is_file()]  # a link to nothing is named when the slices are read
    scan = cached(there, cache_dir, unpack, variant=f"{series_uid} {spacing_tolerance} modality")
    return open_decoded(scan, str(folder), channel=0)


def _decode(slices: tuple[Slice, ...], target: Path, dtype: str) -> bool:
    """Write the rescaled values of slices; False if int16 would round them; float32 holds all, rounded if need be."""
    import SimpleITK

    def write(number: int) -> bool:
        path = slices[number].path
        with damaged(str(path), "cannot be decoded"):
            values = slices[number].true_values(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path))))
        with np.errstate(over="ignore", invalid="ignore"):
            stored = values.astype(dtype)
        if not np.isfinite(stored).all():
            raise ValueError(
                f"{path} has values up to {np.abs(values).max():g}, which float32 cannot hold; correct its rescaling"
            )
        with target.open("r+b") as file:  # each thread its own, because they have one position
            file.seek(number * stored.nbytes)
            file.write(stored.tobytes())
        return dtype == "<f4" or bool((stored == values).all())

    label = f"decoding {slices[0].path.parent.name}"
    target.touch()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        exact = list(tqdm(pool.map(write, range(len(slices))), label, len(slices), leave=False, disable=None))
    return all(exact)


DICOM = Reader("a folder of DICOM slices", lambda location: not is_url(location) and Path(location).is_dir(), open_dicom)
