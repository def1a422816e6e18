"""Kernel ridge regression in closed form, with the errors of groups of rows that are left out together.

Kernel ridge regression: C. Saunders, A. Gammerman and V. Vovk, ICML 1998.  Errors of rows that are left out: D. M. Allen,
Technometrics 16(1), 1974.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

__all__ = [
    "PENALTIES",
    "SHARES",
    "KernelFit",
    "best_fit",
    "centred",
    "check_finite",
    "left_out_errors",
    "members_of",
    "unit_kernel",
]

SHARES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)  # weights of a kernel against another
PENALTIES = [10.0 ** (k / 4) for k in range(-20, 13)]  # relative to the mean eigenvalue of the kernel


def centred(kernel: Tensor) -> Tensor:
    """The kernel of the centred vectors."""
    kernel = kernel - kernel.mean(0)
    return kernel - kernel.mean(1, keepdim=True)


def check_finite(name: str, rows: Tensor) -> None:
    """Refuse rows ``[R, K]`` that are NaN or infinite.

    Raises:
        ValueError: if there are any; it says how many.
    """
    bad = int((~rows.isfinite()).any(1).sum())
    if bad:
        raise ValueError(f"{bad} of {len(rows)} rows have no finite {name}: leave them out")


def unit_kernel(kernel: Tensor) -> tuple[Tensor, Tensor]:
    """The kernel divided by its mean eigenvalue, and that eigenvalue (1 for a kernel of zeros)."""
    unit = kernel.diagonal().mean()
    unit = torch.where(unit > 0, unit, 1.0)
    return kernel / unit, unit


def members_of(groups: Tensor) -> Tensor:
    """The rows of each group, ``[G, S]``; groups smaller than ``S`` are filled up with the number of rows, which no row has."""
    _, group, sizes = groups.unique(return_inverse=True, return_counts=True)
    order = group.argsort(stable=True)
    position = torch.arange(len(groups), device=groups.device) - (sizes.cumsum(0) - sizes).repeat_interleave(sizes)
    members = order.new_full((len(sizes), int(sizes.max())), len(groups))
    members[group[order], position] = order
    return members


def left_out_errors(kernel: Tensor, target: Tensor, members: Tensor) -> list[tuple[float, Tensor, Tensor]]:
    """For each penalty, the errors ``[R, O]`` of rows that are left out, and the dual weights ``[R, O]`` of the fit to all rows.

    Args:
        kernel: centred, ``[R, R]``.
        target: centred, ``[R, O]``.
        members: the rows that are left out together, see :func:`members_of`.
    """
    values, vectors = torch.linalg.eigh(kernel)
    values, rotated = values.clamp(min=0), vectors.mT @ target
    own = nn.functional.pad(vectors, (0, 0, 0, 1))[members]  # [G, S, R], of zeros where there is no row
    there = (members < len(target)).to(target)
    mean = there[:, :, None] * there[:, None] / len(target)
    unit = torch.eye(members.shape[1], dtype=target.dtype, device=target.device)
    result = []
    for penalty in PENALTIES:
        weights = vectors @ (rotated / (values + penalty)[:, None])
        missing = unit - mean - (own * (values / (values + penalty))) @ own.mT  # one block of the hat matrix for each group
        errors = torch.linalg.solve(missing, penalty * nn.functional.pad(weights, (0, 0, 0, 1))[members])
        residual = torch.empty_like(weights)
        residual[members[members < len(target)]] = errors[members < len(target)]
        result.append((penalty, residual, weights))
    return result


@dataclass(frozen=True)
class KernelFit:
    """A kernel ridge regression on a weighted sum of kernels.

    Attributes:
        weights: of the kernels.
        penalty: relative to the mean eigenvalue of each kernel.
        dual: ``[R, O]``: a prediction is the sum of the duals, each times the weighted kernel between its row and the new one.
        left_out: the predictions ``[R, O]`` of rows that are left out.
    """

    weights: tuple[float, ...]
    penalty: float
    dual: Tensor
    left_out: Tensor


def best_fit(kernels: tuple[Tensor, Tensor, Tensor], target: Tensor, members: Tensor) -> KernelFit:
    """The weights and the penalty with the smallest squared error of rows that are left out.

    Args:
        kernels: centred and of the mean eigenvalue 1, see :func:`unit_kernel`, ``[R, R]`` each; the second and the third one may
            be of zeros.
        target: ``[R, O]``.
        members: the rows that are left out together, see :func:`members_of`.
    """

    def fits() -> Iterator[tuple[float, KernelFit]]:
        for weights in _weights_of_three(*(bool(kernel.any()) for kernel in kernels[1:])):
            kernel = torch.stack([weight * each for weight, each in zip(weights, kernels, strict=True)]).sum(0)
            for penalty, residual, dual in left_out_errors(kernel, target - target.mean(0), members):
                yield residual.square().mean().item(), KernelFit(weights, penalty, dual, target - residual)

    return min(fits(), key=lambda fit: math.inf if math.isnan(fit[0]) else fit[0])[1]


def _weights_of_three(second: bool, third: bool) -> list[tuple[float, float, float]]:
    """Candidates for the weights of three kernels, whose sum is 1; 0 for the second or the third one if it has none."""
    outer, inner = SHARES if third else (1.0,), SHARES if second else (1.0,)
    return [(share * first, share * (1 - first), 1 - share) for share in outer for first in (inner if share else (1.0,))]
