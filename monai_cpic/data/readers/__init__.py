"""Readers, one for each kind of volume, and the choice among them.

A reader of your own is a :class:`Reader` in a file of its own and an entry of :data:`READERS`.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from monai_cpic.data.channels import join_channels
from monai_cpic.data.readers.array import NPY, open_array
from monai_cpic.data.readers.base import Reader, is_url
from monai_cpic.data.readers.dicom import DICOM
from monai_cpic.data.readers.function import open_function
from monai_cpic.data.readers.itk import ITK
from monai_cpic.data.readers.nifti import NIFTI
from monai_cpic.data.readers.zarr import ZARR
from monai_cpic.data.volume import LazyVolume

__all__ = ["READERS", "Reader", "open_array", "open_function", "open_volume"]

READERS: list[Reader] = [ZARR, DICOM, NIFTI, ITK, NPY]  # the first that matches opens a volume


def open_volume(
    scan: str | os.PathLike[str] | Tensor | NDArray[Any] | LazyVolume | Sequence[Any],
    *,
    fill: float | None = None,
    **options: Any,
) -> LazyVolume:
    """Open a scan of any kind.

    It may be a folder of DICOM slices, ``.nii``, ``.nii.gz``, ``.mha``, ``.mhd``, ``.nrrd``, ``.nhdr``, ``.npy``, an OME-Zarr
    folder or URL (``s3://…``), or an array ``[C, *spatial]``.
    DICOM slices, ``.nii.gz``, MetaImage and NRRD cannot be read at random; they are unpacked once into the cache folder.

    Args:
        scan: a path, a URL, a tensor or an array.  A list of scans of equal geometry becomes one volume with their channels, in
            that order (:func:`~monai_cpic.data.channels.join_channels`).  A volume is returned as it is.
        fill: the value that is read for voxels that are NaN or infinite, or that float32 cannot hold, such as 1e300; they are
            counted.  By default they are an error.
        options: of the reader; an array has none.  See :func:`~monai_cpic.data.readers.dicom.open_dicom`,
            :func:`~monai_cpic.data.readers.itk.open_itk`, :func:`~monai_cpic.data.readers.nifti.open_nifti` and
            :func:`~monai_cpic.data.readers.zarr.open_zarr`.

    Raises:
        FileNotFoundError: if the path does not exist.
        ValueError: if no reader knows this kind of file, the scan is broken, or ``fill`` is not finite.
        TypeError: if ``scan`` is none of the above, or the reader does not have an option.

    Example:
        >>> import torch
        >>> volume = open_volume(torch.arange(24.0).reshape(1, 2, 3, 4))
        >>> volume.gather(torch.tensor([[1, 1, 1]]), size=2).flatten().tolist()
        [0.0, 1.0, 4.0, 5.0, 12.0, 13.0, 16.0, 17.0]
    """
    if fill is not None and not abs(fill) <= float(np.finfo(np.float32).max):
        raise ValueError(f"fill={fill}: the value to read in place of what is not finite must be a finite float32")
    if isinstance(scan, LazyVolume):
        if fill is not None or options:
            raise TypeError(f"{scan!r} has been opened: give it fill={fill} and the options {options} when it is opened")
        return scan
    if isinstance(scan, (list, tuple)):
        return join_channels([open_volume(channel, fill=fill, **options) for channel in scan])
    if isinstance(scan, (Tensor, np.ndarray)):
        if options:
            raise TypeError(f"an array has no options, got {options}; only files have")
        volume = open_array(scan)
    elif isinstance(scan, (str, os.PathLike)):
        volume = _open_location(os.fspath(scan), **options)
    else:
        raise TypeError(f"cannot open a volume from a {type(scan).__name__}; a path, a tensor or an array is expected")
    return replace(volume, source=volume.source.finite(str(volume.key or "the array"), fill))


def _open_location(location: str, **options: Any) -> LazyVolume:
    if not is_url(location):
        location = os.path.abspath(location)  # the handle must outlive a change of the working directory
        if not Path(location).exists():
            raise FileNotFoundError(f"{location} does not exist")
        if not (Path(location).is_file() or Path(location).is_dir()):
            raise ValueError(f"{location} is neither a file nor a folder, but a pipe, a socket or a device: copy it to a file")
    for reader in READERS:
        if reader.matches(location):
            try:
                inspect.signature(reader.open).bind(location, **options)
            except TypeError as error:
                raise TypeError(f"{location}: {error}: {reader.kind} has no such option") from error
            return reader.open(location, **options)
    known = ", ".join(reader.kind for reader in READERS)
    raise ValueError(f"{location}: unknown kind of volume; it is none of: {known}")
