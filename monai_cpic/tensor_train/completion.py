"""Completion: the tensor train that fits scattered values, by alternating least squares.

Cross-approximation takes its values from a few nested fibres, which settle the structure but let the noise of each fibre through.
Least squares over values at random places averages it: on a chest CT 14 000 values come to 1.26 times the error of TT-SVD, where
passes of 11 000 come to 1.77.  The method is that of Holtz, Rohwedder and Schneider 2012 with values instead of a whole tensor
(Grasedyck, Kluge and Krämer 2015); each core's problem is solved by conjugate gradients.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from monai_cpic.tensor_train.tensor_train import Places, TensorTrain, along, by_digit

__all__ = ["complete", "parameters"]

SHRINKAGE = 0.5  # what draws a core to zero, in shares of what is left over of the values
STEPS = 4  # of conjugate gradients for each core: its normal equations are nearly a multiple of the identity


def parameters(ranks: Sequence[int], sizes: Sequence[int]) -> int:
    """Degrees of freedom of a tensor train: entries of its cores less those of the gauge (Holtz et al. 2012, On manifolds)."""
    entries = sum(a * n * b for a, n, b in zip(ranks[:-1], sizes, ranks[1:], strict=True))
    return entries - sum(rank**2 for rank in ranks[1:-1])


def complete(train: TensorTrain, digits: Tensor, values: Tensor, sweeps: int = 3, ridge: float = 1e-2) -> TensorTrain:
    """The tensor train of the same ranks, near ``train``, that fits values at given places best.

    Differentiable in the values and in ``train``.  Fields of the rank of ``train`` are met exactly as they are by it.  The more
    of the values no core explains, the more the cores are drawn to zero, so that noise is not taken for structure.

    Args:
        train: where to start, batch ``B``.
        digits: places, int64 ``[P, D]``, the same for all tensors; random ones, several for each of :func:`parameters`.
        values: ``[B, P]``.
        sweeps: through all cores, in alternating directions.
        ridge: how much a core is held at its value, relative to the mean weight of an entry in its normal equations.

    Returns:
        a new tensor train.

    Raises:
        ValueError: if the shapes do not fit.
    """
    if digits.ndim != 2 or digits.shape[1] != len(train.cores) or tuple(values.shape) != (train.batch_size, len(digits)):
        raise ValueError(
            f"{train!r} needs digits [P, {len(train.cores)}] and values [{train.batch_size}, P], got {tuple(digits.shape)} and "
            f"{tuple(values.shape)}"
        )
    if not len(digits):
        raise ValueError("there must be at least one row of digits")
    places = [by_digit(digits[:, k], size) for k, size in enumerate(train.shape)]
    cores, values, scale = _scaled(train.cores, places, values)
    cores, places = _mirror(_orthogonal(cores)), places[::-1]
    for _ in range(sweeps):
        cores, places = _mirror(_sweep(cores, places, values, ridge)), places[::-1]
    cores = cores if sweeps % 2 else _mirror(cores)
    return TensorTrain([scale[:, None, None, None] * cores[0], *cores[1:]])


def _scaled(cores: Sequence[Tensor], places: Sequence[Places], values: Tensor) -> tuple[list[Tensor], Tensor, Tensor]:
    """Cores and values of which the largest is around 1, and what they were divided by, ``[B]``.

    Every core is made so, wherever a tensor train carries its size: products of the original numbers might overflow.
    """
    sizes = [core.detach().abs().amax((1, 2, 3)) for core in cores]
    sizes = [torch.where(size > 0, size, 1.0) for size in sizes]
    cores = [core / size[:, None, None, None] for core, size in zip(cores, sizes, strict=True)]
    product = torch.stack([size.double().log() for size in sizes]).sum(0)
    with torch.no_grad():
        predicted = values.new_ones(*values.shape, 1)
        for core, where in zip(cores, places, strict=True):
            predicted = along(core, where, predicted)
    largest = predicted.abs().amax((1, 2)).double().log() + product  # of the tensor train; in logarithms, as it may overflow
    largest = torch.maximum(largest, values.detach().abs().amax(1).double().log())
    largest = torch.where(largest.isfinite(), largest, 0.0)
    cores[0] = cores[0] * (product - largest).exp().to(values.dtype)[:, None, None, None]
    scale = largest.exp().to(values.dtype)
    return cores, values / scale[:, None], scale


def _mirror(cores: Sequence[Tensor]) -> list[Tensor]:
    """The tensor train of the reversed modes."""
    return [core.transpose(1, 3) for core in reversed(cores)]


def _orthogonal(cores: Sequence[Tensor]) -> list[Tensor]:
    """The same tensor train with orthonormal columns in all cores but the last."""
    cores = list(cores)
    for k in range(len(cores) - 1):
        cores[k], cores[k + 1] = _pass_on(cores[k], cores[k + 1])
    return cores


def _pass_on(core: Tensor, following: Tensor) -> tuple[Tensor, Tensor]:
    """Multiply a core by the matrix that makes its columns orthonormal, and the next by the inverse: Cholesky QR.

    Directions weaker than the square root of rounding stay weak, and the matrix exists for cores of any rank.
    """
    unfolded = core.flatten(1, 2)
    gram = unfolded.mT @ unfolded
    size = gram.diagonal(dim1=1, dim2=2).sum(1)[:, None, None]
    eye = torch.eye(gram.shape[1], dtype=core.dtype, device=core.device)
    floor = 32 * torch.finfo(core.dtype).eps * torch.where(size > 0, size, 1.0)
    lower = torch.linalg.cholesky_ex(gram + floor * eye)[0]
    orthonormal = torch.linalg.solve_triangular(lower, unfolded.mT, upper=False).mT
    return orthonormal.reshape(core.shape), (lower.mT @ following.flatten(2)).reshape(following.shape)


def _sweep(cores: Sequence[Tensor], places: Sequence[Places], values: Tensor, ridge: float) -> list[Tensor]:
    """Fit one core after the other, left to right, on a tensor train whose cores right of the first have orthonormal rows."""
    cores = list(cores)
    right = [values.new_ones(*values.shape, 1)]
    for k in range(len(cores) - 1, 0, -1):
        right.append(along(cores[k].transpose(1, 3), places[k], right[-1]))
    left = values.new_ones(*values.shape, 1)
    for k in range(len(cores)):
        cores[k] = _fit(cores[k], left, right.pop(), values, places[k], ridge)
        if k + 1 < len(cores):
            cores[k], cores[k + 1] = _pass_on(cores[k], cores[k + 1])
            left = along(cores[k], places[k], left)
    return cores


def _fit(core: Tensor, left: Tensor, right: Tensor, values: Tensor, places: Places, ridge: float) -> Tensor:
    """The core for which ``left · core[digit] · right`` is nearest to the values; every digit's slice is a problem of its own."""
    # The mean eigenvalue of the normal equations of all slices: one that the interfaces hardly reach stays where it is.
    weight = (left.square().sum(2) * right.square().sum(2)).sum(1)[:, None, None] / core[0].numel()
    problems = []
    for digit, where in enumerate(places.of):
        a, b, start = left[:, where], right[:, where], core[:, :, digit]
        problems.append((a, b, values[:, where] - ((a @ start) * b).sum(2), start))
    left_over = torch.stack([missing.square().sum(1) for _, _, missing, _ in problems]).sum(0)
    size = values.square().sum(1)
    noise = (left_over / torch.where(size > 0, size, 1.0)).clamp(max=1)[:, None, None]
    held, drawn = ridge * weight, SHRINKAGE * noise * weight
    return torch.stack([start + _Slice.apply(a, b, missing, start, held, drawn) for a, b, missing, start in problems], 2)


class _Slice(torch.autograd.Function):
    """``argmin_X Σ_p (a_p X b_p − missing_p)² + held ‖X‖² + drawn ‖start + X‖²``, ``[B, r, r']``.

    The derivative is that of the solution, whatever the steps that found it: with ``G`` the matrix of the normal equations it
    needs one more solution, ``G⁻¹`` of the incoming gradient.
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
    """``G⁻¹ residual`` by a few steps from zero, ``G X = Σ_p a_p (a_p X b_p) b_p + ridge X``."""
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
