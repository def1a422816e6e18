"""Readers of the kinds of volumes, and the choice among them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from monai_cpic.data.channels import join_channels
from monai_cpic.data.finite import FiniteSource
from monai_cpic.data.readers.array import open_array, open_npy
from monai_cpic.data.readers.dicom import open_dicom
from monai_cpic.data.readers.function import open_function
from monai_cpic.data.readers.itk import ITK_SUFFIXES, open_itk
from monai_cpic.data.readers.nifti import open_nifti
from monai_cpic.data.readers.zarr import open_zarr
from monai_cpic.data.volume import LazyVolume

__all__ = ["open_array", "open_dicom", "open_function", "open_itk", "open_nifti", "open_npy", "open_volume", "open_zarr"]

ZARR = ("zarr.json", ".zgroup", ".zattrs")  # what a folder holds that is a Zarr group


def open_volume(
    scan: str | os.PathLike[str] | Tensor | np.ndarray | LazyVolume | Sequence[Any],
    *,
    fill: float | None = None,
    **options: Any,
) -> LazyVolume:
    """A handle of a scan, by what it is: a folder of DICOM slices, ``.nii``, ``.nii.gz``, ``.mha``, ``.mhd``, ``.nrrd``,
    ``.nhdr``, ``.npy``, an OME-Zarr folder or URL (``s3://…``), an array ``[C, *spatial]``.

    What cannot be read at random, DICOM slices, ``.nii.gz``, MetaImage and NRRD, is unpacked once into the cache folder.

    Args:
        scan: the scan; one that is open already is returned as it is.  A list of scans of equal geometry are the channels of one
            volume, in their order (:func:`~monai_cpic.data.channels.join_channels`).
        fill: the value of voxels of a file that are NaN or infinite, counted as they are read; by default they are an error.
        options: of the reader of its kind: :func:`open_dicom`, :func:`open_itk`, :func:`open_nifti`,
            :func:`open_zarr`.

    Raises:
        FileNotFoundError: if the path does not exist.
        ValueError: if the kind is unknown or the scan is broken.
        TypeError: if it is neither a path nor an array.

    Example:
        >>> import torch
        >>> volume = open_volume(torch.arange(24.0).reshape(1, 2, 3, 4))
        >>> volume.gather(torch.tensor([[1, 1, 1]]), size=2).flatten().tolist()
        [0.0, 1.0, 4.0, 5.0, 12.0, 13.0, 16.0, 17.0]
    """
    if isinstance(scan, LazyVolume):
        return scan
    if isinstance(scan, (list, tuple)):
        return join_channels([open_volume(channel, fill=fill, **options) for channel in scan])
    if isinstance(scan, (Tensor, np.ndarray)):
        return open_array(scan)
    if not isinstance(scan, (str, os.PathLike)):
        raise TypeError(f"cannot open a volume from a {type(scan).__name__}; a path, a tensor or an array is expected")
    volume = _open_path(scan, **options)
    if volume.source.dtype.kind == "f":
        volume = replace(volume, source=FiniteSource(volume.source, str(volume.key), fill))
    return volume


def _open_path(scan: str | os.PathLike[str], **options: Any) -> LazyVolume:
    if "://" in str(scan):
        return open_zarr(str(scan), **options)
    path = Path(os.path.abspath(scan))  # the handle must outlive a change of the working directory
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist")
    if any((path / name).exists() for name in ZARR):
        return open_zarr(str(path), **options)
    if path.is_dir():
        return open_dicom(path, **options)
    if path.name.endswith((".nii", ".nii.gz")):
        return open_nifti(path, **options)
    if path.suffix in ITK_SUFFIXES:
        return open_itk(path, **options)
    if path.suffix == ".npy":
        return open_npy(path)
    raise ValueError(
        f"{path}: unknown kind of volume; a folder of DICOM slices, .nii, .nii.gz, .mha, .nrrd, .npy or OME-Zarr is expected"
    )
