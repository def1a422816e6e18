"""DICOM series: decoded once, slice by slice, into a file that is mapped from then on."""

from __future__ import annotations

import errno
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from tqdm import tqdm

from monai_cpic.data.cache import cached
from monai_cpic.data.source import MappedSource
from monai_cpic.data.volume import LazyVolume

if TYPE_CHECKING:
    from monai_cpic.data.readers.dicom_series import Slice

__all__ = ["open_dicom"]

VOXELS, HEADER = "voxels.raw", "header.json"


def open_dicom(
    folder: Path,
    cache_dir: str | Path | None = None,
    series_uid: str | None = None,
    spacing_tolerance: float = 0.1,
) -> LazyVolume:
    """The CT or MRI series in a folder, with its rescaled values (Hounsfield units for CT), seen as ``[1, X, Y, Z]``.

    Args:
        folder: one file per slice, any names, any transfer syntax that SimpleITK (GDCM) decodes.
        cache_dir: where the decoded voxels go (:func:`~monai_cpic.data.cache.cached`).
        series_uid: which series to take where the folder holds several.
        spacing_tolerance: relative deviation of slice distances that is still accepted.

    Raises:
        ValueError: for a folder without DICOM, several series, differing or missing slices, truncated files; each names the file.
    """
    files = sorted(path for path in folder.iterdir() if path.is_file())

    def unpack(target: Path) -> None:
        # SimpleITK takes a third of a second and 100 MB to load, which a scan that is already decoded does not need.
        from monai_cpic.data.readers.dicom_series import order_slices, read_headers

        series = order_slices(folder, read_headers(folder, series_uid), spacing_tolerance)
        dtype = next(name for name in ("<i2", "<f4") if _decode(series.slices, target / VOXELS, name))
        columns, rows = series.slices[0].size[:2]
        shape = (1, len(series.slices), rows, columns)
        (target / HEADER).write_text(json.dumps({"dtype": dtype, "shape": shape, "affine": series.affine.tolist()}))

    scan = cached(files, cache_dir, unpack, variant=f"{series_uid} {spacing_tolerance}")
    header = json.loads((scan / HEADER).read_text())
    source = MappedSource(str(scan / VOXELS), header["dtype"], tuple(header["shape"]), (0, 3, 2, 1))
    return LazyVolume(source, torch.tensor(header["affine"], dtype=torch.float64), str(folder))


def _decode(slices: tuple[Slice, ...], target: Path, dtype: str) -> bool:
    """Write the slices' rescaled values; False if the dtype cannot hold them exactly."""
    import SimpleITK

    def write(number: int) -> bool:
        path = slices[number].path
        try:
            values = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))
        except RuntimeError as error:
            raise ValueError(f"{path} cannot be decoded: {str(error).strip().splitlines()[-1]}; fetch the file again") from error
        stored = values.astype(dtype)
        if os.pwrite(file.fileno(), stored.tobytes(), number * stored.nbytes) < stored.nbytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
        return dtype == "<f4" or bool((stored == values).all())

    label = f"decoding {slices[0].path.parent.name}"
    with target.open("wb") as file, ThreadPoolExecutor(os.cpu_count()) as pool:
        exact = list(tqdm(pool.map(write, range(len(slices))), label, len(slices), leave=False, disable=None))
    return all(exact)
