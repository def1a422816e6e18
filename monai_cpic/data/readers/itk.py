"""MetaImage and NRRD files: decoded once by SimpleITK into a file that is mapped from then on."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import torch

from monai_cpic.data.cache import cached
from monai_cpic.data.source import MappedSource
from monai_cpic.data.volume import LazyVolume

__all__ = ["ITK_SUFFIXES", "open_itk"]

ITK_SUFFIXES = (".mha", ".mhd", ".nrrd", ".nhdr")
VOXELS, HEADER = "voxels.raw", "header.json"
DATA_FILE = re.compile(r"^(?:ElementDataFile\s*=|data ?file:)\s*(.+?)\s*$", re.MULTILINE)


def open_itk(path: Path, cache_dir: str | Path | None = None) -> LazyVolume:
    """A 2-D or 3-D MetaImage or NRRD file; the components of a vector image are channels.

    Args:
        path: ``.mha``, ``.mhd``, ``.nrrd`` or ``.nhdr``; compressed or not, in one file or in two.
        cache_dir: where the decoded voxels go (:func:`~monai_cpic.data.cache.cached`).

    Raises:
        ValueError: if the file is broken or truncated, its voxels are missing, or it holds a series of volumes.
    """
    data = [path.parent / name for name in DATA_FILE.findall(path.read_bytes()[:65536].decode("latin-1"))]
    files = [path, *(file for file in data if file.is_file())]
    scan = cached(files, cache_dir, lambda folder: _unpack(path, folder))
    header = json.loads((scan / HEADER).read_text())
    shape = tuple(header["shape"])
    source = MappedSource(str(scan / VOXELS), header["dtype"], shape, tuple(range(len(shape)))[::-1])
    return LazyVolume(source, torch.tensor(header["affine"], dtype=torch.float64), str(path))


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
    affine = np.eye(axes + 1)
    affine[:-1, :-1] = np.reshape(image.GetDirection(), (axes, axes)) * image.GetSpacing()
    affine[:-1, -1] = image.GetOrigin()
    affine[:2] *= -1  # from LPS to RAS
    shape = (*values.shape[:axes], image.GetNumberOfComponentsPerPixel())
    (folder / VOXELS).write_bytes(np.ascontiguousarray(values))
    (folder / HEADER).write_text(json.dumps({"dtype": values.dtype.str, "shape": shape, "affine": affine.tolist()}))
