"""Procedural volumes, whose voxels are computed when they are read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from monai_cpic.data.pyramid.centres import centres
from monai_cpic.data.sources import Source
from monai_cpic.data.volume import LazyVolume

__all__ = ["FunctionSource", "open_function"]


def open_function(function: Callable[..., NDArray[Any]], shape: Sequence[int], affine: Tensor | None = None) -> LazyVolume:
    """A volume of any size whose voxels a function computes, for tests and for benchmarks larger than any disk.

    Args:
        function: see :class:`FunctionSource`.
        shape: ``(C, *spatial)``.
        affine: from voxel indices to RAS millimetres; default: the identity.

    Raises:
        ValueError: if the shape is not that of a volume, or the function does not return real numbers of the shape of its
            arguments.

    Example:
        >>> volume = open_function(lambda x, y, z: x + 10 * y + 100 * z, (1, 8192, 8192, 8192))
        >>> volume.gather(torch.tensor([[8191, 2, 3]]), size=(2, 1, 1)).flatten().tolist()
        [8510.0, 8511.0]
    """
    axes = len(shape) - 1
    if axes not in (2, 3) or min(shape) < 1:
        raise ValueError(f"shape {tuple(shape)}: a volume has (C, *spatial) with 2 or 3 axes, none of them empty")
    source = FunctionSource(function, tuple(shape))
    try:
        kind = source.points(list(np.zeros((axes, 2), np.int64))).dtype.kind
    except (TypeError, ValueError) as error:
        raise ValueError(f"the function cannot be a volume of shape {tuple(shape)}: {error}") from error
    if kind not in "biuf":
        raise ValueError(f"the function returns numbers of kind {kind!r}; a volume has real numbers")
    return LazyVolume(source, torch.eye(axes + 1, dtype=torch.float64, device="cpu") if affine is None else affine.double())


@dataclass(frozen=True)
class FunctionSource(Source):
    """Voxels that a function computes from their indices; picklable if the function is.

    Args:
        function: from ``D`` int64 arrays that broadcast to one shape, to real numbers of that shape or ``[C, *shape]``; a value
            must not depend on the other voxels that are asked for.
        size: ``(C, *spatial)``.
    """

    function: Callable[..., NDArray[Any]]
    size: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.size

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the function's value at the first voxel."""
        return np.asarray(self.function(*np.zeros((len(self.size) - 1, 1), np.int64))).dtype

    def points(self, indices: Sequence[NDArray[Any]]) -> NDArray[Any]:
        shape = np.broadcast_shapes(*(index.shape for index in indices))
        return np.array(np.broadcast_to(self.function(*indices), (self.size[0], *shape)))  # the caller may write into it

    def level(self, factors: tuple[int, ...], through: Source | None = None) -> Source:
        """The function at the centres of the blocks; nothing is averaged."""
        return centres(through or self, factors)
