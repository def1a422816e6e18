"""Tensor completion by alternating least squares (ALS): the tensor train that fits values at scattered multi-indices best.

Cross-approximation takes its values from a few nested fibres.  They determine the structure, but the noise of each fibre goes
into the result.  Least squares over random entries average it: on a chest CT, 14 000 values reach 1.26 times the error of TT-SVD,
sweeps of 11 000 values 1.77 times.

The method is that of Holtz, Rohwedder and Schneider (2012, The alternating linear scheme for tensor optimization in the tensor
train format), for some entries instead of all of them (Grasedyck, Kluge and Krämer 2015, Variants of alternating least squares
tensor completion in the tensor train format).  The least-squares problem of each core is solved by conjugate gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from monai_cpic.tensor_train.tensor_train import DigitPositions, TensorTrain, digit_positions, multiply_core

__all__ = ["als_completion", "degrees_of_freedom"]

SHRINKAGE = 0.5  # weight of the penalty ‖core‖², relative to the residual's share of the values
STEPS = 4  # of conjugate gradients per core: few, as the normal equations are nearly a multiple of the identity


def degrees_of_freedom(ranks: Sequence[int], sizes: Sequence[int]) -> int:
    """Dimension of the manifold of tensor trains: entries of the cores less those of the gauge.

    Source: Holtz, Rohwedder and Schneider 2012, On manifolds of tensors of fixed TT-rank.

    Args:
        ranks: bond ranks ``[r_0, …, r_D]``.
        sizes: mode sizes ``[n_1, …, n_D]``.

    Example:
        >>> degrees_of_freedom((1, 3, 1), (7, 5)) == 3 * (7 + 5 - 3)  # a matrix of rank 3
        True
    """
    entries = sum(a * n * b for a, n, b in zip(ranks[:-1], sizes, ranks[1:], strict=True))
    return entries - sum(rank**2 for rank in ranks[1:-1])


def als_completion(train: TensorTrain, digits: Tensor, values: Tensor, sweeps: int = 3, ridge: float = 1e-2) -> TensorTrain:
    """Fit a tensor train to values at given multi-indices, starting from ``train`` and keeping its ranks.

    Differentiable in the values and in ``train``.  If ``train`` meets the values exactly, the tensors do not change.  The larger
    the part of the values that the cores cannot explain, the more the cores are shrunk, so that noise is not fitted.

    Args:
        train: where the iteration starts, batch ``B``.
        digits: multi-indices, int64 ``[P, D]``, the same for all tensors of the batch; draw them at random, several for each of
            the :func:`degrees_of_freedom`.
        values: ``[B, P]``.
        sweeps: number of sweeps through all cores, in alternating directions.
        ridge: weight of the penalty on the change of a core, relative to the mean eigenvalue of its normal equations.

    Returns:
        a new tensor train with the ranks of ``train``.

    Raises:
        ValueError: if the shapes do not fit, there is no multi-index, or a digit is out of range.
    """
    if digits.ndim != 2 or digits.shape[1] != len(train.cores) or tuple(values.shape) != (train.batch_size, len(digits)):
        raise ValueError(
            f"{train!r} needs digits [P, {len(train.cores)}] and values [{train.batch_size}, P], got {tuple(digits.shape)} and "
            f"{tuple(values.shape)}"
        )
    if not len(digits):
        raise ValueError("there must be at least one row of digits")
    positions = [digit_positions(digits[:, k], size) for k, size in enumerate(train.shape)]
    cores, values, scale = _scaled(train.cores, positions, values)
    cores, positions = _mirror(_orthogonal(cores)), positions[::-1]
    for _ in range(sweeps):
        cores, positions = _mirror(_sweep(cores, positions, values, ridge)), positions[::-1]
    cores = cores if sweeps % 2 else _mirror(cores)
    return TensorTrain([scale[:, None, None, None] * cores[0], *cores[1:]])


def _scaled(cores: Sequence[Tensor], positions: Sequence[DigitPositions], values: Tensor) -> tuple[list[Tensor], Tensor, Tensor]:
    """Scale every core, and the values, to a largest entry around 1; also returns the common divisor ``[B]``.

    Without it, products of cores might overflow, whichever core carries the magnitude of the tensor.
    """
    sizes = [core.detach().abs().amax((1, 2, 3)) for core in cores]
    sizes = [torch.where(size > 0, size, 1.0) for size in sizes]
    cores = [core / size[:, None, None, None] for core, size in zip(cores, sizes, strict=True)]
    product = torch.stack([size.double().log() for size in sizes]).sum(0)
    with torch.no_grad():
        predicted = values.new_ones(*values.shape, 1)
        for core, where in zip(cores, positions, strict=True):
            predicted = multiply_core(predicted, core, where)
    largest = predicted.abs().amax((1, 2)).double().log() + product  # entry of the tensor; in logarithms, as it may overflow
    largest = torch.maximum(largest, values.detach().abs().amax(1).double().log())
    largest = torch.where(largest.isfinite(), largest, 0.0)
    cores[0] = cores[0] * (product - largest).exp().to(values.dtype)[:, None, None, None]
    scale = largest.exp().to(values.dtype)
    return cores, values / scale[:, None], scale


def _mirror(cores: Sequence[Tensor]) -> list[Tensor]:
    """The tensor train with its modes in reverse order."""
    return [core.transpose(1, 3) for core in reversed(cores)]


def _orthogonal(cores: Sequence[Tensor]) -> list[Tensor]:
    """The same tensor train with orthonormal columns in all cores but the last."""
    cores = list(cores)
    for k in range(len(cores) - 1):
        cores[k], cores[k + 1] = _shift_gauge(cores[k], cores[k + 1])
    return cores


def _shift_gauge(core: Tensor, following: Tensor) -> tuple[Tensor, Tensor]:
    """Make the columns of a core orthonormal and move the triangular factor into the next core (Cholesky QR).

    A small multiple of the identity keeps the Cholesky factor defined for cores of any rank; singular vectors whose singular
    values lie below the square root of the rounding unit are then not of unit length.
    """
    unfolded = core.flatten(1, 2)
    gram = unfolded.mT @ unfolded
    size = gram.diagonal(dim1=1, dim2=2).sum(1)[:, None, None]
    eye = torch.eye(gram.shape[1], dtype=core.dtype, device=core.device)
    floor = 32 * torch.finfo(core.dtype).eps * torch.where(size > 0, size, 1.0)
    lower = torch.linalg.cholesky_ex(gram + floor * eye)[0]
    orthonormal = torch.linalg.solve_triangular(lower, unfolded.mT, upper=False).mT
    return orthonormal.reshape(core.shape), (lower.mT @ following.flatten(2)).reshape(following.shape)


def _sweep(cores: Sequence[Tensor], positions: Sequence[DigitPositions], values: Tensor, ridge: float) -> list[Tensor]:
    """Fit one core after the other, left to right; all cores but the first must have orthonormal rows."""
    cores = list(cores)
    right = [values.new_ones(*values.shape, 1)]
    for k in range(len(cores) - 1, 0, -1):
        right.append(multiply_core(right[-1], cores[k].transpose(1, 3), positions[k]))
    left = values.new_ones(*values.shape, 1)
    for k in range(len(cores)):
        cores[k] = _fit(cores[k], left, right.pop(), values, positions[k], ridge)
        if k + 1 < len(cores):
            cores[k], cores[k + 1] = _shift_gauge(cores[k], cores[k + 1])
            left = multiply_core(left, cores[k], positions[k])
    return cores


def _fit(core: Tensor, left: Tensor, right: Tensor, values: Tensor, positions: DigitPositions, ridge: float) -> Tensor:
    """The core that brings ``left · core[digit] · right`` nearest to the values; each digit's slice is a separate problem."""
    # The mean eigenvalue of the normal equations of all slices: a slice with hardly any values then stays at its start.
    weight = (left.square().sum(2) * right.square().sum(2)).sum(1)[:, None, None] / core[0].numel()
    problems = []
    for digit, where in enumerate(positions.of):
        a, b, start = left[:, where], right[:, where], core[:, :, digit]
        problems.append((a, b, values[:, where] - ((a @ start) * b).sum(2), start))
    left_over = torch.stack([missing.square().sum(1) for _, _, missing, _ in problems]).sum(0)
    size = values.square().sum(1)
    noise = (left_over / torch.where(size > 0, size, 1.0)).clamp(max=1)[:, None, None]
    held, drawn = ridge * weight, SHRINKAGE * noise * weight
    solve: Callable[..., Tensor] = _Slice.apply
    return torch.stack([start + solve(a, b, missing, start, held, drawn) for a, b, missing, start in problems], 2)


class _Slice(torch.autograd.Function):
    """``argmin_X Σ_p (a_p X b_p − missing_p)² + held ‖X‖² + drawn ‖start + X‖²``, ``[B, r, r']``.

    The gradient is that of the exact minimiser (implicit differentiation), not of the iteration.  It takes one more solution of
    the normal equations, with the incoming gradient as the right-hand side.
    """

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, missing: Tensor, start: Tensor, held: Tensor, drawn: Tensor) -> Tensor:
        solution = _conjugate_gradients(a, b, (a * missing[:, :, None]).mT @ b - drawn * start, held + drawn)
        ctx.save_for_backward(a, b, missing, start, held, drawn, solution)
        return solution

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        a, b, missing, start, held, drawn, solution = ctx.saved_tensors
        dual = _conjugate_gradients(a, b, gradient, held + drawn)
        towards_b, towards_a = a @ dual, b @ dual.mT
        moved = (towards_b * b).sum(2, keepdim=True)
        left_over = (missing - ((a @ solution) * b).sum(2))[:, :, None]
        gradient_a = left_over * towards_a - moved * (b @ solution.mT)
        gradient_b = left_over * towards_b - moved * (a @ solution)
        gradient_held = -(dual * solution).sum((1, 2), keepdim=True)
        gradient_drawn = -(dual * (solution + start)).sum((1, 2), keepdim=True)
        return gradient_a, gradient_b, moved[:, :, 0], -drawn * dual, gradient_held, gradient_drawn


def _conjugate_gradients(a: Tensor, b: Tensor, residual: Tensor, ridge: Tensor) -> Tensor:
    """Solve ``G X = residual`` by a few steps from ``X = 0``, where ``G X = Σ_p a_p (a_p X b_p) b_p + ridge X``."""
    unit = residual.abs().amax((1, 2), keepdim=True)
    unit = torch.where(unit > 0, unit, 1.0)  # squares must not underflow
    residual = residual / unit
    solution, direction = torch.zeros_like(residual), residual
    size = residual.square().sum((1, 2), keepdim=True)
    negligible = torch.finfo(a.dtype).eps ** 2 * size
    for _ in range(STEPS):
        image = (a * ((a @ direction) * b).sum(2, keepdim=True)).mT @ b + ridge * direction
        curvature = (direction * image).sum((1, 2), keepdim=True)
        going = (size > negligible) & (curvature > 0)
        step = torch.where(going, size / torch.where(going, curvature, 1.0), 0.0)
        solution, residual = solution + step * direction, residual - step * image
        following = residual.square().sum((1, 2), keepdim=True)
        direction = residual + torch.where(going, following / torch.where(going, size, 1.0), 0.0) * direction
        size = following
    return unit * solution
