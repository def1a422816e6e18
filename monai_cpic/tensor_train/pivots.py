"""Pivots: the rows of a tall matrix from which the others are interpolated.

Square maxvol looks for the square submatrix of largest volume (Goreinov et al. 2010); it starts from the pivots of LU.
Rectangular maxvol (Mikhalev and Oseledets 2018) then adds the row that enlarges the volume of the tall submatrix most, again and
again, which compensates for pivots that are not the best.  Everything is batched, without a loop over the batch and without
waiting for the device.
"""

from __future__ import annotations

import torch
from torch import Tensor

from monai_cpic.devices import move

__all__ = ["select_rows"]

SWAP_TOLERANCE = 1.05  # a swap must enlarge the volume by more than this factor
PERTURBATION = 1e-6  # relative to the largest value
SWAPS = 4  # the pivots of LU are nearly of maximal volume: more swaps gain nothing


@torch.no_grad()
def select_rows(matrix: Tensor, count: int, first: int | None = None, among: int | None = None) -> Tensor:
    """Choose rows of each matrix that have a large volume, so that the other rows are interpolated from them stably.

    Args:
        matrix: ``[B, m, n]``, of any rank, ``float32`` or ``float64``.
        count: number of rows to choose, at most ``m``.
        first: how many of them are pivots of square maxvol; the rest is added by rectangular maxvol.  Default ``min(m, n)``.
        among: the pivots are chosen from this many leading rows of the matrix; default all.

    Returns:
        int64 ``[B, count]``, distinct; the pivots come first.

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
    # Where the matrix lacks rank (flat regions of a scan) rounding would choose, and the rows would depend on the batch size or
    # the processor.  A small fixed perturbation chooses instead.
    generator = torch.Generator().manual_seed(0)
    fixed = torch.randn(size, columns, generator=generator, dtype=torch.float64, device="cpu").to(matrix.dtype)
    fixed = move(fixed, matrix)
    matrix = matrix + PERTURBATION * matrix.abs().amax((1, 2), keepdim=True) * fixed
    # The orthonormal factor has full column rank even where the matrix has not, so every step below is well posed.
    # With more columns than pivots, the leading singular vectors replace it.
    head = matrix[:, :among]
    basis = torch.linalg.qr(head)[0] if first == columns else torch.linalg.svd(head, full_matrices=False)[0][:, :, :first]
    rows = _pivot_rows(torch.linalg.lu_factor_ex(basis)[1], among)[:, :first]
    if count == first:
        return _maxvol(basis, rows)
    return _extend(basis if among == size and first == columns else torch.linalg.qr(matrix)[0], rows, count)


def _pivot_rows(exchanges: Tensor, size: int) -> Tensor:
    """The rows that LU moves to the top, in order, from its row exchanges ``[B, n]`` (which count from 1, as LAPACK does)."""
    batch, count = exchanges.shape
    order = torch.arange(size, device=exchanges.device).repeat(batch, 1)
    exchanges = exchanges.long() - 1
    for j in range(count):
        here, there = order[:, j : j + 1].clone(), exchanges[:, j : j + 1]
        order[:, j : j + 1] = order.gather(1, there)
        order.scatter_(1, there, here)
    return order[:, :count]


def _maxvol(basis: Tensor, rows: Tensor) -> Tensor:
    """Improve the chosen rows by swaps with others."""
    square = basis.take_along_dim(rows[:, :, None], 1)
    coefficients = torch.linalg.solve_ex(square.mT, basis.mT)[0].contiguous()  # [B, count, m]
    for _ in range(min(SWAPS, rows.shape[1])):
        _swap(coefficients, rows)
    return rows


def _swap(coefficients: Tensor, rows: Tensor) -> None:
    """Swap one chosen row for the one that enlarges the volume most, if that helps; in place."""
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
    """Add rows greedily: each is the one that enlarges ``det(BᵀB + ε I)`` of the chosen rows ``B`` most.

    With ``M = (BᵀB + ε I)⁻¹`` that is the row ``q`` with the largest ``q M qᵀ``; adding it changes ``M`` by rank one.  Directions
    that the pivots miss, because they were chosen from leading rows only, have ``q M qᵀ ≈ 1/ε`` and are added first.
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
