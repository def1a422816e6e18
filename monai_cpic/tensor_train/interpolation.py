"""Interpolation from chosen rows by regularised least squares."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["interpolate"]


def interpolate(pivots: Tensor, values: Tensor, ridge: float) -> Tensor:
    """Solve ``P X ≈ V`` for each field by iterated Tikhonov regularisation with ``λ = ridge · max|P|``.

    The first step is ``argmin_X ‖P X − V‖² + λ²‖X‖²``; the second step solves the same problem for the residual and adds its
    solution (Engl, Hanke and Neubauer 1996, section 5.1).  A singular value ``σ`` of ``P`` is inverted up to the relative error
    ``(λ² / (σ² + λ²))²``: exactly, to rounding, where ``σ ≫ λ``.  In any case ``‖X‖ ≤ 0.8 ‖V‖ / λ``.

    Both steps use the QR decomposition of ``[P; λ I]``, which always has full column rank, so values and gradients are finite
    whatever the rank of ``P``.  A block of zeros gives zeros.

    Args:
        pivots: ``P``, ``[B, s, r]``.
        values: ``V``, ``[B, s, m]``.
        ridge: the regularisation, relative to the largest entry of ``P``.

    Returns:
        ``X``, ``[B, r, m]``.
    """
    rows, columns = pivots.shape[1:]
    largest = pivots.abs().amax((1, 2))
    damping = torch.where(largest > 0, ridge * largest, 1.0)
    eye = torch.eye(columns, dtype=pivots.dtype, device=pivots.device)
    q, upper = torch.linalg.qr(torch.cat([pivots, damping[:, None, None] * eye], 1))
    projection = q[:, :rows].mT
    first: Tensor = torch.linalg.solve_triangular(upper, projection @ values, upper=True)
    second: Tensor = torch.linalg.solve_triangular(upper, projection @ (values - pivots @ first), upper=True)
    return first + second
