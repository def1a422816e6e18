"""Kernel ridge regression in closed form, with the errors of groups of rows that are left out together.

Kernel ridge regression: C. Saunders, A. Gammerman and V. Vovk, ICML 1998.  Errors of rows that are left out: D. M. Allen,
Technometrics 16(1), 1974.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from monai_cpic.networks.readouts.evidence import log_evidence

__all__ = [
    "PENALTIES",
    "ROUNDING",
    "SHARES",
    "KernelFit",
    "averaged_fit",
    "centred",
    "check_finite",
    "left_out_errors",
    "members_of",
    "unit_kernel",
]

SHARES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)  # weights of a kernel against another
PENALTIES = [10.0 ** (k / 4) for k in range(-20, 13)]  # relative to the mean eigenvalue of the kernel
EVIDENCE = 0.5  # of an observation, that a patient counts for
ROUNDING = 1e-10  # share of their mean square by which constants may vary; rounding is not to be enlarged


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


def unit_kernel(kernel: Tensor, size: Tensor | float = 0.0) -> tuple[Tensor, Tensor]:
    """The kernel divided by its mean eigenvalue, and that eigenvalue; zeros and 1 for a kernel that is zero but for rounding.

    Args:
        kernel: centred.
        size: the mean square of the vectors before they were centred, by which rounding is known; 0 if there is none.
    """
    unit = kernel.diagonal().mean()
    real = unit > ROUNDING * size
    unit = torch.where(real, unit, 1.0)
    return torch.where(real, kernel / unit, 0.0), unit


def members_of(groups: Tensor) -> Tensor:
    """The rows of each group, ``[G, S]``; groups smaller than ``S`` are filled up with the number of rows, which no row has."""
    _, group, sizes = groups.unique(return_inverse=True, return_counts=True)
    order = group.argsort(stable=True)
    position = torch.arange(len(groups), device=groups.device) - (sizes.cumsum(0) - sizes).repeat_interleave(sizes)
    members = order.new_full((len(sizes), int(sizes.max())), len(groups))
    members[group[order], position] = order
    return members


def left_out_errors(kernel: Tensor, target: Tensor, members: Tensor) -> tuple[Tensor, Tensor]:
    """For each of the penalties, the errors of rows that are left out, and the dual weights of the fit to all rows.

    Args:
        kernel: centred, ``[R, R]``.
        target: centred, ``[R, O]``.
        members: the rows that are left out together, see :func:`members_of`.

    Returns:
        Errors and dual weights, ``[len(PENALTIES), R, O]`` each.
    """
    values, vectors = torch.linalg.eigh(kernel)
    values, rotated = values.clamp(min=0), vectors.mT @ target
    own = nn.functional.pad(vectors, (0, 0, 0, 1))[members]  # [G, S, R], of zeros where there is no row
    there = (members < len(target)).to(target)
    mean = there[:, :, None] * there[:, None] / len(target)
    unit = torch.eye(members.shape[1], dtype=target.dtype, device=target.device)
    residuals, duals = [], []
    for penalty in PENALTIES:
        weights = vectors @ (rotated / (values + penalty)[:, None])
        missing = unit - mean - (own * (values / (values + penalty))) @ own.mT  # one block of the hat matrix for each group
        errors = torch.linalg.solve(missing, penalty * nn.functional.pad(weights, (0, 0, 0, 1))[members])
        residual = torch.empty_like(weights)
        residual[members[members < len(target)]] = errors[members < len(target)]
        residuals.append(residual)
        duals.append(weights)
    return torch.stack(residuals), torch.stack(duals)


@dataclass(frozen=True)
class KernelFit:
    """Kernel ridge regressions on weighted sums of ``K`` kernels, averaged.

    Attributes:
        weights: the mean weights of the kernels, ``[K]``.
        penalty: the geometric mean of the penalties, relative to the mean eigenvalue of each kernel.
        duals: ``[K, R, O]``: a prediction is the sum over kernels and rows of the kernel between a row and the new one, times the
            dual of the two.
        left_out: the predictions ``[R, O]`` of rows that are left out.
    """

    weights: Tensor
    penalty: Tensor
    duals: Tensor
    left_out: Tensor


def averaged_fit(kernels: tuple[Tensor, Tensor, Tensor], target: Tensor, members: Tensor) -> KernelFit:
    """The mean of regressions with all weights and penalties, by how plausible errors of rows that are left out make each.

    If patients are few, the regression with the smallest error has it by chance: up to 1 419 are tried, and some fit even the
    patients who are left out.  Means by the evidence of patients left out: S. Geisser and W. F. Eddy, JASA 74, 1979;
    Y. Yao et al., Bayesian Analysis 13(3), 2018.

    Args:
        kernels: centred and of the mean eigenvalue 1, see :func:`unit_kernel`, ``[R, R]`` each; the second and the third one may
            be of zeros.
        target: ``[R, O]``.
        members: the rows that are left out together, see :func:`members_of`.
    """
    weights = kernels[0].new_tensor(_weights_of_three(*(bool(kernel.any()) for kernel in kernels[1:])))
    sums = (sum(weight * kernel for weight, kernel in zip(row, kernels, strict=True)) for row in weights)
    fits = [left_out_errors(kernel, target - target.mean(0), members) for kernel in sums]
    errors = torch.stack([residuals.square().mean((1, 2)) for residuals, _ in fits])  # of weights and penalties
    shares = log_evidence(errors.flatten(), len(members), EVIDENCE).softmax(0).view_as(errors)
    left_out, duals = target.clone(), target.new_zeros(len(kernels), *target.shape)
    for (residuals, each), share, row in zip(fits, shares, weights, strict=True):
        left_out -= torch.tensordot(share, residuals.nan_to_num(), 1)  # the share of a regression with NaN is 0
        duals += row[:, None, None] * torch.tensordot(share, each.nan_to_num(), 1)
    penalty = (shares.sum(0) @ shares.new_tensor(PENALTIES).log()).exp()
    return KernelFit(shares.sum(1) @ weights, penalty, duals, left_out)


def _weights_of_three(second: bool, third: bool) -> list[tuple[float, float, float]]:
    """Candidates for the weights of three kernels, whose sum is 1; 0 for the second or the third one if it has none."""
    outer, inner = SHARES if third else (1.0,), SHARES if second else (1.0,)
    return [(share * first, share * (1 - first), 1 - share) for share in outer for first in (inner if share else (1.0,))]
