"""MetaImage and NRRD files: decoded once by SimpleITK into a file that is mapped from then on."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from monai_cpic.data.cache.unpacked import cached
from monai_cpic.data.readers.base import VOXELS, Reader, open_decoded, ras_affine, write_header
from monai_cpic.data.volume import LazyVolume

__all__ = ["ITK", "open_itk"]

SUFFIXES = (".mha", ".mhd", ".nrrd", ".nhdr")
DATA_FILE = re.compile(r"^(?:ElementDataFile\s*=|data ?file:)\s*(.+?)\s*$", re.MULTILINE)


def open_itk(path: str | Path, cache_dir: str | Path | None = None) -> LazyVolume:
    """Open a 2-D or 3-D MetaImage or NRRD file; the components of a vector image are channels.

    Args:
        path: ``.mha``, ``.mhd``, ``.nrrd`` or ``.nhdr``; compressed or not, with the voxels in the same file or in another.
        cache_dir: where decoded voxels are kept (:func:`~monai_cpic.data.cache.unpacked.cached`).

    Raises:
        ValueError: if the file is damaged or truncated, its data file is missing, or it holds a series of volumes.
    """
    path = Path(path)
    data = [path.parent / name for name in DATA_FILE.findall(path.read_bytes()[:65536].decode("latin-1"))]
    files = [path, *(file for file in data if file.is_file())]
    scan = cached(files, cache_dir, lambda folder: _unpack(path, folder))
    return open_decoded(scan, str(path), channel=-1)


def _unpack(path: Path, folder: Path) -> None:
    import SimpleITK

    try:
        image = SimpleITK.ReadImage(str(path))
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise ValueError(f"{path} is truncated, damaged or without its data file: {reason}; fetch it again") from error
    axes = image.GetDimension()
    if axes == 4 and image.GetSize()[3] == 1:
        image, axes = image[..., 0], 3
    if axes > 3:
        raise ValueError(f"{path} holds a series of volumes, shape {image.GetSize()}, where one is expected: save one apart")
    values = SimpleITK.GetArrayFromImage(image)  # [(Z,) Y, X(, C)]
    if values.dtype.kind not in "iuf":
        raise ValueError(f"{path} has the data type {values.dtype}; a volume has real numbers")
    affine = ras_affine(np.reshape(image.GetDirection(), (axes, axes)), image.GetSpacing(), image.GetOrigin())
    shape = (*values.shape[:axes], image.GetNumberOfComponentsPerPixel())
    values.tofile(folder / VOXELS)
    write_header(folder, values.dtype.str, shape, affine)


ITK = Reader(", ".join(SUFFIXES), lambda location: location.endswith(SUFFIXES), open_itk)
