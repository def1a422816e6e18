"""Volumes in memory, and numpy files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from monai.data import MetaTensor
from monai.data.utils import to_affine_nd
from torch import Tensor

from monai_cpic.data.source import ArraySource, MappedSource
from monai_cpic.data.volume import LazyVolume

__all__ = ["open_array", "open_npy"]


def open_array(values: Tensor | np.ndarray) -> LazyVolume:
    """An array ``[C, *spatial]``, not copied; a MetaTensor brings its affine, others have the identity.

    Raises:
        ValueError: if it does not have the shape and data type of a volume, or is a MetaTensor with pending operations.
    """
    affine = torch.eye(4)
    if isinstance(values, MetaTensor):
        if values.pending_operations:
            raise ValueError("the MetaTensor has pending operations: apply them (ApplyPendingd) or use LoadLazyVolumed")
        affine = values.affine
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        values = (values.float() if values.dtype == torch.bfloat16 else values).numpy()  # numpy has no bfloat16
    _check("the array", values)
    if min(values.strides) < 0:
        values = np.ascontiguousarray(values)
    return LazyVolume(ArraySource(np.asarray(values)), torch.as_tensor(to_affine_nd(values.ndim - 1, affine.double())))


def open_npy(path: Path) -> LazyVolume:
    """A ``.npy`` file ``[C, *spatial]``, mapped.

    Raises:
        ValueError: if it is not a readable ``.npy`` file, or does not have the shape and data type of a volume.
    """
    try:
        mapped = np.load(path, mmap_mode="r")
    except (EOFError, ValueError) as error:
        raise ValueError(f"{path} is not a readable .npy file of numbers, or truncated: {error}; fetch the file again") from error
    _check(str(path), mapped)
    order = tuple(range(mapped.ndim))
    fortran = not mapped.flags.c_contiguous
    shape, axes = (mapped.shape[::-1], order[::-1]) if fortran else (mapped.shape, order)
    source = MappedSource(str(path), mapped.dtype.str, shape, axes, mapped.offset)
    return LazyVolume(source, torch.eye(mapped.ndim, dtype=torch.float64), str(path))


def _check(name: str, values: np.ndarray) -> None:
    if values.ndim not in (3, 4) or 0 in values.shape:
        raise ValueError(f"{name} has the shape {values.shape}; a volume has (C, *spatial) with 2 or 3 axes, none of them empty")
    if values.dtype.kind not in "biuf":
        raise ValueError(f"{name} has the data type {values.dtype}; a volume has real numbers")
