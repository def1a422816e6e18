"""The dense reference: patches cut out of an array in memory, and averages of it over blocks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["dense_factors", "dense_means", "dense_patches", "dense_steps", "points_around"]


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


def dense_means(values: Tensor, factors: Sequence[int]) -> Tensor:
    """Average a dense volume over blocks of voxels from the first one on; the last blocks average the voxels that there are.

    Args:
        values: ``[C, *spatial]``.
        factors: ``D`` edges of the blocks.

    Returns:
        float64 ``[C, *⌈spatial / factors⌉]``.

    Example:
        >>> dense_means(torch.tensor([[[1.0, 2.0, 3.0, 4.0, 7.0]]]), (1, 2)).tolist()
        [[[1.5, 3.5, 7.0]]]
    """
    means = values.double()
    for axis, factor in enumerate(factors, 1):
        means = torch.cat([block.mean(axis, keepdim=True) for block in means.split(factor, axis)], axis)
    return means


def dense_factors(step: int, spacing: Sequence[float]) -> list[int]:
    """For each axis the power of two, at most ``step``, whose blocks come nearest to the length ``step · min(spacing)``."""
    powers = [factor for factor in range(1, step + 1) if step % factor == 0]
    return [min(powers, key=lambda factor: abs(factor * edge - step * min(spacing))) for edge in spacing]


def dense_steps(values: Tensor, centres: Tensor, size: Sequence[int], steps: Sequence[int], spacing: Sequence[float]) -> Tensor:
    """Cut patches at several steps out of a dense volume.

    Args:
        values: ``[C, *spatial]``.
        centres: int64 ``[N, D]``, anywhere.
        size: ``D`` edge lengths.
        steps: powers of two.
        spacing: distances between voxels along each axis.

    Returns:
        float64 ``[N, L·C, *size]``.
    """
    patches = []
    for factors in (dense_factors(step, spacing) for step in steps):
        blocks = torch.stack([torch.div(centres[:, d], f, rounding_mode="floor") for d, f in enumerate(factors)], 1)
        patches.append(dense_patches(dense_means(values, factors), blocks, size))
    return torch.cat(patches, 1)


def points_around(shape: Sequence[int], count: int = 200) -> Tensor:
    """Random points inside a volume ``(C, *spatial)``, at its border and up to 12 voxels outside, int64 ``[count, D]``."""
    return torch.stack([torch.randint(-12, n + 12, (count,)) for n in shape[1:]], 1)
