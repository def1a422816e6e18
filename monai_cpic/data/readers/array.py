"""Volumes in memory, and numpy files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from monai.data import MetaTensor
from torch import Tensor

from monai_cpic.data.source import ArraySource, MappedSource
from monai_cpic.data.volume import LazyVolume

__all__ = ["open_array", "open_npy"]


def open_array(values: Tensor | np.ndarray) -> LazyVolume:
    """An array ``[C, *spatial]``; a MetaTensor brings its affine, others have the identity."""
    axes = values.ndim - 1
    if axes not in (2, 3):
        raise ValueError(f"a volume in memory has the shape (C, *spatial) with 2 or 3 axes, got {tuple(values.shape)}")
    affine = values.affine if isinstance(values, MetaTensor) else torch.eye(axes + 1)
    stored = values.detach().cpu().numpy() if isinstance(values, Tensor) else values
    return LazyVolume(ArraySource(np.asarray(stored)), affine.double())


def open_npy(path: Path) -> LazyVolume:
    """A ``.npy`` file ``[C, *spatial]``, mapped."""
    mapped = np.load(path, mmap_mode="r")
    if mapped.ndim not in (3, 4):
        raise ValueError(f"{path}: a volume has the shape (C, *spatial) with 2 or 3 axes, got {mapped.shape}")
    order = tuple(range(mapped.ndim))
    fortran = not mapped.flags.c_contiguous
    shape, axes = (mapped.shape[::-1], order[::-1]) if fortran else (mapped.shape, order)
    source = MappedSource(str(path), mapped.dtype.str, shape, axes, mapped.offset)
    return LazyVolume(source, torch.eye(mapped.ndim, dtype=torch.float64), str(path))
