"""MetaImage and NRRD files: decoded once by SimpleITK into a file that is mapped from then on."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from monai_cpic.data.affine import check_affine
from monai_cpic.data.cache.unpacked import cached
from monai_cpic.data.readers.base import VOXELS, Reader, damaged, open_decoded, ras_affine, write_header
from monai_cpic.data.readers.itk_files import data_files
from monai_cpic.data.readers.metaimage import check_metaimage
from monai_cpic.data.readers.nrrd import check_nrrd
from monai_cpic.data.volume import LazyVolume

__all__ = ["ITK", "open_itk"]

SUFFIXES = (".mha", ".mhd", ".nrrd", ".nhdr")


def open_itk(path: str | Path, cache_dir: str | Path | None = None, outside: bool = False) -> LazyVolume:
    """Open a 2-D or 3-D MetaImage or NRRD file; the components of a vector image are channels.

    Args:
        path: ``.mha``, ``.mhd``, ``.nrrd`` or ``.nhdr``; compressed or not, with the voxels in the same file or in another.
        cache_dir: where decoded voxels are kept (:func:`~monai_cpic.data.cache.unpacked.cached`).
        outside: whether the header may name data files outside its folder, which a header from elsewhere should not.

    Raises:
        ValueError: if the file is damaged or truncated, a data file is missing or elsewhere, or it holds a series of volumes.
    """
    path = Path(path)
    data = data_files(path, outside)
    scan = cached([path, *data], cache_dir, lambda folder: _unpack(path, data, folder))
    return open_decoded(scan, str(path), channel=-1)


def _unpack(path: Path, data: list[Path], folder: Path) -> None:
    import SimpleITK

    check = check_metaimage if path.suffix in (".mha", ".mhd") else check_nrrd
    check(path, data)
    with damaged(str(path)):
        image = SimpleITK.ReadImage(str(path))
    axes = image.GetDimension()
    if axes == 4 and image.GetSize()[3] == 1:
        image, axes = image[..., 0], 3
    if axes > 3:
        raise ValueError(f"{path} holds a series of volumes, shape {image.GetSize()}, where one is expected: save one apart")
    values = SimpleITK.GetArrayFromImage(image)  # [(Z,) Y, X(, C)]
    if values.dtype.kind not in "iuf":
        raise ValueError(f"{path} has the data type {values.dtype}; a volume has real numbers")
    affine = ras_affine(np.reshape(image.GetDirection(), (axes, axes)), image.GetSpacing(), image.GetOrigin())
    check_affine(affine, str(path))
    shape = (*values.shape[:axes], image.GetNumberOfComponentsPerPixel())
    values.tofile(folder / VOXELS)
    write_header(folder, values.dtype.str, shape, affine)


ITK = Reader(", ".join(SUFFIXES), lambda location: location.endswith(SUFFIXES), open_itk)
