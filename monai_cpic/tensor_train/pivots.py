"""Pivots: which rows of a tall matrix carry it.  Batched maxvol, or pivots of LU and greedy rectangular maxvol.

Maxvol looks for the square submatrix of largest volume (Goreinov et al. 2010); rectangular maxvol (Mikhalev and Oseledets 2018)
goes on adding the row that enlarges the volume of the tall submatrix most, which makes up for a square that is not the best.
No step waits for the device or loops over the batch.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["select_rows"]

SWAP_TOLERANCE = 1.05  # a swap must enlarge the volume by more than this factor
TREMBLE = 1e-6  # relative to the largest value
SWAPS = 4  # after the pivots of LU, which are nearly of maximal volume, further swaps gain nothing


@torch.no_grad()
def select_rows(matrix: Tensor, count: int, first: int | None = None, among: int | None = None) -> Tensor:
    """Rows of each matrix whose span and volume represent it best.

    Args:
        matrix: ``[B, m, n]``, any rank, ``float32`` or ``float64``.
        count: number of rows, at most ``m``.
        first: how many of them are pivots, chosen first; default ``min(m, n)``.
        among: how many leading rows of the matrix the pivots are chosen from; default all.

    Returns:
        int64 ``[B, count]``, without repetition; the pivots come first.

    Raises:
        ValueError: if a number is out of range.

    Example:
        >>> select_rows(torch.tensor([[[0.0], [2.0], [1.0]]]), count=2)
        tensor([[1, 2]])
    """
    size, columns = matrix.shape[1:]
    among = size if among is None else among
    first = min(among, columns) if first is None else first
    if not 1 <= first <= min(among, columns) or not first <= count <= size or among > size:
        raise ValueError(
            f"{count} rows of a {size} x {columns} matrix, {first} of them pivots among the leading {among}: choose between 1 "
            f"and {min(among, columns)} pivots, and between {first} and {size} rows in all"
        )
    # Flat regions lack rank, and there rounding would choose: other rows for another batch size.  So a fixed matrix chooses.
    fixed = torch.randn(size, columns, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(matrix)
    matrix = matrix + TREMBLE * matrix.abs().amax((1, 2), keepdim=True) * fixed
    # The orthonormal factor has full column rank even where the matrix has not, so every step below is well posed.
    # Of more columns than pivots wanted, the leading singular vectors carry most.
    head = matrix[:, :among]
    basis = torch.linalg.qr(head)[0] if first == columns else torch.linalg.svd(head, full_matrices=False)[0][:, :, :first]
    rows = _brought_to_the_top(torch.linalg.lu_factor_ex(basis)[1], among)[:, :first]
    if count == first:
        return _maxvol(basis, rows)
    return _extend(basis if among == size and first == columns else torch.linalg.qr(matrix)[0], rows, count)


def _brought_to_the_top(exchanges: Tensor, size: int) -> Tensor:
    """Which row LU with partial pivoting moves to each of the first places, from its exchanges ``[B, n]`` (counted from 1)."""
    batch, count = exchanges.shape
    order = torch.arange(size, device=exchanges.device).repeat(batch, 1)
    exchanges = exchanges.long() - 1
    for j in range(count):
        here, there = order[:, j : j + 1].clone(), exchanges[:, j : j + 1]
        order[:, j : j + 1] = order.gather(1, there)
        order.scatter_(1, there, here)
    return order[:, :count]


def _maxvol(basis: Tensor, rows: Tensor) -> Tensor:
    """Improve chosen rows by swaps."""
    square = basis.take_along_dim(rows[:, :, None], 1)
    coefficients = torch.linalg.solve_ex(square.mT, basis.mT)[0].contiguous()  # [B, count, m]
    for _ in range(min(SWAPS, rows.shape[1])):
        _swap(coefficients, rows)
    return rows


def _swap(coefficients: Tensor, rows: Tensor) -> None:
    """Exchange one chosen row for the one that enlarges the volume most, where that helps; in place."""
    count, size = coefficients.shape[1:]
    best, where = coefficients.abs().flatten(1).max(1, keepdim=True)
    j, i = where // size, where % size
    helps = best > SWAP_TOLERANCE
    entering = coefficients.gather(2, i[:, None].expand(-1, count, 1))  # [B, count, 1]
    scaled = coefficients.gather(1, j[:, None].expand(-1, 1, size))  # [B, 1, m]
    scaled = scaled * (helps / coefficients.flatten(1).gather(1, where))[:, None]
    leaving = torch.zeros_like(entering).scatter_(1, j[:, :, None], 1.0)
    coefficients.baddbmm_(entering - leaving, scaled, alpha=-1)
    rows.scatter_(1, j, torch.where(helps, i, rows.gather(1, j)))


def _extend(basis: Tensor, rows: Tensor, count: int) -> Tensor:
    """Add rows greedily, each the one that enlarges ``det(BᵀB + ε I)`` of the chosen rows ``B`` most.

    With ``M = (BᵀB + ε I)⁻¹`` that is the row ``q`` of largest ``q M qᵀ``, and ``M`` changes by rank one.  ``ε`` is there for
    directions that the maxvol rows, chosen among a part only, may miss: they come first.
    """
    columns = basis.shape[2]
    block = basis.take_along_dim(rows[:, :, None], 1)
    eye = torch.eye(columns, dtype=basis.dtype, device=basis.device)
    transposed = basis.mT.contiguous()
    images = torch.linalg.solve_ex(block.mT @ block + torch.finfo(basis.dtype).eps ** 0.5 * eye, transposed)[0]  # M qᵀ, [B, n, m]
    gains = (images * transposed).sum(1).scatter_(1, rows, -torch.inf)
    added = [rows]
    for _ in range(count - rows.shape[1]):
        gain, i = gains.max(1, keepdim=True)
        added.append(i)
        image = images.gather(2, i[:, None].expand(-1, columns, 1))  # [B, n, 1]
        common = (basis @ image).mT / (1 + gain)[:, None].sqrt()
        images.baddbmm_(image / (1 + gain)[:, None].sqrt(), common, alpha=-1)
        gains = (gains - common[:, 0].square()).scatter_(1, i, -torch.inf)
    return torch.cat(added, 1)
