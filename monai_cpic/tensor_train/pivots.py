"""Pivots: which rows of a tall matrix carry it.  Batched maxvol, then greedy rectangular maxvol.

Maxvol looks for the square submatrix of largest volume (Goreinov et al. 2010); rectangular maxvol (Mikhalev and Oseledets 2018)
goes on adding the row that enlarges the volume of the tall submatrix most.  No step waits for the device or loops over the batch.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["select_rows"]

SWAP_TOLERANCE = 1.05  # a swap must enlarge the volume by more than this factor


@torch.no_grad()
def select_rows(matrix: Tensor, count: int) -> Tensor:
    """Rows of each matrix whose span and volume represent it best.

    Args:
        matrix: ``[B, m, n]``, any rank, ``float32`` or ``float64``.
        count: number of rows, ``min(m, n) ≤ count ≤ m``.

    Returns:
        int64 ``[B, count]``, without repetition; the first ``min(m, n)`` are the maxvol rows.

    Raises:
        ValueError: if ``count`` is out of range.

    Example:
        >>> select_rows(torch.tensor([[[0.0], [2.0], [1.0]]]), count=2)
        tensor([[1, 2]])
    """
    batch, size, columns = matrix.shape
    rank = min(size, columns)
    if not rank <= count <= size:
        raise ValueError(f"{count} rows of a {size} x {columns} matrix: choose between {rank} and {size}")
    # The orthonormal factor has full column rank even where the matrix has not, so every step below is well posed.
    basis = torch.linalg.qr(matrix)[0]
    each = torch.arange(batch, device=matrix.device)
    permutation = torch.lu_unpack(*torch.linalg.lu_factor(basis), unpack_data=False)[0]
    rows = permutation.argmax(-2)[:, :rank]  # the rows that partial pivoting brings to the top
    coefficients = torch.linalg.solve(basis[each[:, None], rows], basis, left=False)  # [B, m, rank]
    for _ in range(rank):
        _swap(coefficients, rows, each)
    return _extend(coefficients, rows, count, each)


def _swap(coefficients: Tensor, rows: Tensor, each: Tensor) -> None:
    """Exchange one chosen row for the one that enlarges the volume most, where that helps; in place."""
    rank = rows.shape[1]
    best, where = coefficients.abs().flatten(1).max(1)
    i, j = where // rank, where % rank
    helps = best > SWAP_TOLERANCE
    row = coefficients[each, i]
    row[each, j] -= 1
    column = coefficients[each, :, j] / coefficients[each, i, j].where(helps, 1.0)[:, None]
    coefficients -= helps[:, None, None] * column[:, :, None] * row[:, None]
    rows[each, j] = torch.where(helps, i, rows[each, j])


def _extend(coefficients: Tensor, rows: Tensor, count: int, each: Tensor) -> Tensor:
    """Add rows greedily, each the one whose coefficients have the largest norm."""
    chosen = torch.zeros(coefficients.shape[:2], dtype=torch.bool, device=rows.device)
    chosen.scatter_(1, rows, True)
    while rows.shape[1] < count:
        i = coefficients.square().sum(2).masked_fill(chosen, -1).argmax(1)
        chosen[each, i] = True
        rows = torch.cat([rows, i[:, None]], 1)
        row = coefficients[each, i][:, None]
        image = coefficients @ row.mT
        scale = 1 / (1 + image[each, i])[:, None]
        coefficients = torch.cat([coefficients - scale * image @ row, scale * image], 2)
    return rows
