"""Affines from voxel indices to millimetres, and which of them are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["check_affine"]

FLATTEST = 1e-6  # volume of the cell that unit vectors along the axes span: 1 if they are orthogonal


def check_affine(affine: NDArray[Any], name: str) -> None:
    """Refuse an affine that does not place each voxel somewhere else.

    Args:
        affine: ``[D + 1, D + 1]``, from voxel indices to millimetres.
        name: of the scan, for messages.

    Raises:
        ValueError: if a number is NaN or infinite, two voxels lie at one place, or the last row is not ``0 … 0 1``.

    Example:
        >>> check_affine(np.diag([0.7, 0.0, 1.0]), "scan.nii")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ValueError: scan.nii: its affine ... is singular: voxels lie at one place; correct the header
    """
    if not np.isfinite(affine).all():
        fault = "has numbers that are not finite"
    elif (affine[-1] != np.eye(len(affine))[-1]).any():
        fault = f"ends in a row other than {np.eye(len(affine), dtype=int)[-1].tolist()}"
    elif _flatness(affine[:-1, :-1]) < FLATTEST:
        fault = "is singular: voxels lie at one place"
    else:
        return
    raise ValueError(f"{name}: its affine {affine.tolist()} {fault}; correct the header")


def _flatness(axes: NDArray[Any]) -> float:
    """The volume of the cell that the axes, as unit vectors, span; 0 if one of them has no length or no finite one."""
    largest = np.abs(axes).max(0)
    if (largest == 0).any():
        return 0.0
    axes = axes / largest  # so that squares neither overflow nor vanish
    return float(abs(np.linalg.det(axes / np.linalg.norm(axes, axis=0))))
