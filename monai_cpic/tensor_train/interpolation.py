"""Interpolation from chosen rows: least squares that keep what is there and damp what is not."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["interpolate"]


def interpolate(pivots: Tensor, values: Tensor, ridge: float) -> Tensor:
    """Iterated ridge least squares ``P X ≈ V`` for each field, with ``λ = ridge · max|P|``.

    The first solution is ``argmin_X ‖P X − V‖² + λ²‖X‖²``; the second fits what it leaves over and adds that.  A direction of
    ``P`` with singular value ``σ`` is inverted up to the relative error ``(λ² / (σ² + λ²))²``, so a field of rank at most ``r``
    is met to rounding where ``σ ≫ λ``, and ``‖X‖ ≤ 0.8 ‖V‖ / λ`` where it is not (iterated Tikhonov regularisation; Engl, Hanke
    and Neubauer 1996, section 5.1).  Solved by QR of the stacked matrix ``[P; λ I]``, which always has full column rank: values
    and gradients are finite whatever the rank of ``P``.  A block of zeros gives zeros.

    Args:
        pivots: ``[B, s, r]``.
        values: ``[B, s, m]``.
        ridge: relative regularisation.

    Returns:
        ``[B, r, m]``.
    """
    rows, columns = pivots.shape[1:]
    largest = pivots.abs().amax((1, 2))
    damping = torch.where(largest > 0, ridge * largest, 1.0)
    eye = torch.eye(columns, dtype=pivots.dtype, device=pivots.device)
    q, upper = torch.linalg.qr(torch.cat([pivots, damping[:, None, None] * eye], 1))
    projection = q[:, :rows].mT
    first = torch.linalg.solve_triangular(upper, projection @ values, upper=True)
    return first + torch.linalg.solve_triangular(upper, projection @ (values - pivots @ first), upper=True)
