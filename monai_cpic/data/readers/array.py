"""Arrays in memory and numpy files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.data.utils import to_affine_nd
from numpy.typing import NDArray
from torch import Tensor

from monai_cpic.data.readers.base import Reader, damaged
from monai_cpic.data.sources import ArraySource, MappedSource, Source, TensorSource
from monai_cpic.data.volume import LazyVolume

__all__ = ["NPY", "open_array", "open_npy"]


def open_array(values: Tensor | np.ndarray) -> LazyVolume:
    """Open an array ``[C, *spatial]``, which is not copied; a tensor on an accelerator stays there.

    The affine is that of a MetaTensor, and the identity for other arrays.

    Raises:
        ValueError: if the array does not have the shape and dtype of a volume, or is a MetaTensor with pending operations.
    """
    affine = torch.eye(4, device="cpu")
    if isinstance(values, MetaTensor):
        if values.pending_operations:
            raise ValueError("the MetaTensor has pending operations: apply them (ApplyPendingd) or use LoadLazyVolumed")
        affine = values.affine
    source: Source
    if isinstance(values, Tensor):
        tensor = values.detach().as_subclass(Tensor)
        tensor = tensor.float() if tensor.dtype == torch.bfloat16 else tensor  # numpy has no bfloat16
        source = ArraySource(tensor.numpy()) if tensor.device.type == "cpu" else TensorSource(tensor)
    else:
        source = ArraySource(values if _regular(values) else np.ascontiguousarray(values))
    _check("the array", source.shape, source.dtype)
    return LazyVolume(source, torch.as_tensor(to_affine_nd(len(source.shape) - 1, affine.cpu().double()), device="cpu"))


def open_npy(path: str, cache_dir: str | Path | None = None) -> LazyVolume:
    """Open a ``.npy`` file ``[C, *spatial]``, which is mapped; its affine is the identity.

    Args:
        path: the file.
        cache_dir: where levels are kept (:func:`~monai_cpic.data.cache.unpacked.cached`).

    Raises:
        ValueError: if it is not a readable ``.npy`` file, or its array does not have the shape and dtype of a volume.
    """
    with damaged(path, "is not a readable .npy file of numbers, or truncated"):
        mapped = np.lib.format.open_memmap(path, mode="r")
    _check(path, mapped.shape, mapped.dtype)
    order = tuple(range(mapped.ndim))
    fortran = not mapped.flags.c_contiguous
    shape, axes = (mapped.shape[::-1], order[::-1]) if fortran else (mapped.shape, order)
    kept = None if cache_dir is None else str(cache_dir)
    source = MappedSource(path, mapped.dtype.str, shape, axes, mapped.offset, cache_dir=kept)
    return LazyVolume(source, torch.eye(mapped.ndim, dtype=torch.float64, device="cpu"), path)


def _regular(values: NDArray[Any]) -> bool:
    """Whether the strides are whole numbers of values, and not negative, as reading expects."""
    return all(stride >= 0 and stride % values.itemsize == 0 for stride in values.strides)


def _check(name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    if len(shape) not in (3, 4) or 0 in shape:
        raise ValueError(f"{name} has the shape {shape}; a volume has (C, *spatial) with 2 or 3 axes, none of them empty")
    if dtype.kind not in "biuf":
        raise ValueError(f"{name} has the data type {dtype}; a volume has real numbers")


NPY = Reader(".npy", lambda location: location.endswith(".npy"), open_npy)
