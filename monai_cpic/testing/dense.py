"""The dense reference: patches cut out of an array in memory."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["dense_patches", "points_around"]


def dense_patches(values: Tensor, centres: Tensor, size: Sequence[int]) -> Tensor:
    """Cut patches out of a dense volume, whose border is repeated outside.

    Args:
        values: ``[C, *spatial]``.
        centres: int64 ``[N, D]``, anywhere.
        size: ``D`` edge lengths; the first voxel of a patch is ``centre - size // 2``.

    Returns:
        ``[N, C, *size]``.

    Example:
        >>> dense_patches(torch.arange(6.0).reshape(1, 2, 3), torch.tensor([[1, 3]]), (1, 3)).tolist()
        [[[[5.0, 5.0, 5.0]]]]
    """
    axes = len(size)
    lines = [
        (centres[:, axis, None] + torch.arange(edge) - edge // 2).clamp(0, n - 1)
        for axis, (edge, n) in enumerate(zip(size, values.shape[1:], strict=True))
    ]
    index = [line.reshape(len(line), *(-1 if d == axis else 1 for d in range(axes))) for axis, line in enumerate(lines)]
    key: tuple[slice | Tensor, ...] = (slice(None), *index)
    return values[key].transpose(0, 1)


def points_around(shape: Sequence[int], count: int = 200) -> Tensor:
    """Random points inside a volume ``(C, *spatial)``, at its border and up to 12 voxels outside, int64 ``[count, D]``."""
    return torch.stack([torch.randint(-12, n + 12, (count,)) for n in shape[1:]], 1)
