"""Cross-approximation: a tensor train from a few entries of a field, which the method chooses itself.

Sweeps (:mod:`~monai_cpic.tensor_train.sweep`) alternate their direction: the rows chosen by one are the columns of the next
(Oseledets and Tyrtyshnikov 2010; paper, section 3.2).  With more rows than columns, interpolation becomes least squares, which is
more accurate than a square cross on fields that are not exactly of low rank.  A final fit to scattered values
(:mod:`~monai_cpic.tensor_train.als`) brings the result close to the best tensor train.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from monai_cpic.tensor_train.als import als_completion, degrees_of_freedom
from monai_cpic.tensor_train.convergence import ConvergenceMonitor, SweepRecord
from monai_cpic.tensor_train.field import Field, evaluate, memoized
from monai_cpic.tensor_train.indices import CrossIndices, check_nested, initial_indices
from monai_cpic.tensor_train.modes import Mode, coordinates, mode_sizes, random_multi_indices
from monai_cpic.tensor_train.sweep import Sweep
from monai_cpic.tensor_train.tensor_train import TensorTrain, bond_ranks
from monai_cpic.tensor_train.threads import threads

__all__ = ["cross_approximate"]


def cross_approximate(
    field: Field,
    modes: Sequence[Mode],
    rank: int,
    *,
    batch_size: int = 1,
    oversampling: float = 1.5,
    passes: int = 2,
    completion: float = 6.0,
    tol: float | None = None,
    indices: CrossIndices | None = None,
    ridge: float = 1e-6,
    dtype: torch.dtype = torch.float64,
    generator: torch.Generator | None = None,
    observer: Callable[[SweepRecord], None] | None = None,
) -> tuple[TensorTrain, CrossIndices]:
    """Approximate ``batch_size`` fields by tensor trains, differentiable through the values of the last sweep and the completion.

    The matrices are small and are computed with one thread; the field is evaluated with torch's number of threads.

    Args:
        field: values ``[B, P]`` at points ``[B, P, D + 1]``; differentiable in whatever it depends on.
        modes: the tensorization of the grid (:func:`~monai_cpic.tensor_train.modes.qtt_modes`).
        rank: bond rank, lower where the modes on one side of a bond have fewer entries.
        batch_size: number ``B`` of fields.
        oversampling: ``⌈oversampling · rank⌉`` rows are chosen per bond; 1 is the plain cross of the paper.
        passes: number of sweeps, in alternating directions; all but the last are evaluated without gradient.
        completion: random points per degree of freedom at which the field is evaluated for a least-squares fit that starts from
            the last sweep (:func:`~monai_cpic.tensor_train.als.als_completion`).  0 leaves it out, which is the fastest, as a
            training step needs it.
        tol: relative error that suffices: bond ranks shrink from sweep to sweep where all fields of the batch allow it by a wide
            margin, and the sweeps end when the estimated error is below ``tol`` and the ranks do not shrink any more.
        indices: index sets of an earlier call (a warm start, from which a training step takes one sweep); default: random ones,
            the same for all fields of the batch.
        ridge: regularisation of the interpolation (:func:`~monai_cpic.tensor_train.interpolation.interpolate`).
        dtype: of the tensor trains and of the computation; ``torch.float32`` is faster, with rounding errors of about ``1e-5``.
        generator: of random numbers; default: a new one with seed 0, so that calls are reproducible.
        observer: called with the :class:`SweepRecord` of every sweep; costs the evaluations for the error estimate.

    Returns:
        the tensor trains, and the index sets for the next call.

    Raises:
        TypeError: if ``rank`` is not an int, ``dtype`` is not float32 or float64, or the field does not return floating point.
        ValueError: if a parameter is out of range, the index sets belong to other modes, or the field returns a tensor of the
            wrong shape or on another device.
        FloatingPointError: if the field returns a value that is not finite.

    Example:
        >>> from monai_cpic.tensor_train import qtt_modes
        >>> field = lambda c: torch.sin(0.1 * c[..., 0]) + 0.01 * c[..., 1]
        >>> tt, indices = cross_approximate(field, qtt_modes((64, 64)), rank=4)
        >>> tt.shape == (2,) * 12
        True
    """
    positive = rank >= 1 and oversampling >= 1 and passes >= 1 and batch_size >= 1 and modes and ridge > 0
    if not positive or not 0 <= completion < math.inf or not oversampling < math.inf:  # so that NaN is refused
        raise ValueError(
            "rank, oversampling, passes, batch_size and the number of modes must be at least 1, ridge positive and completion "
            f"not negative, got rank={rank}, oversampling={oversampling}, passes={passes}, batch_size={batch_size}, "
            f"{len(modes)} modes, ridge={ridge}, completion={completion}"
        )
    if tol is not None and not tol > 0:
        raise ValueError(f"tol must be positive, got {tol}")
    if dtype not in (torch.float32, torch.float64) or not isinstance(rank, int):
        raise TypeError(f"dtype must be torch.float32 or torch.float64 and rank an int, got {dtype} and {rank!r}")
    number = torch.get_num_threads()

    def own(points: Tensor) -> Tensor:
        with threads(number):
            return field(points)

    with threads(1):  # the matrices are small
        generator = generator or torch.Generator().manual_seed(0)
        if indices is None:
            indices = initial_indices(modes, rank, batch_size=batch_size, generator=generator)
        else:
            _check_indices(indices, modes, rank, batch_size)
        sweep = Sweep(own, modes, oversampling, ridge, tol, dtype)
        monitor = None
        if observer is not None or tol is not None:
            monitor = ConvergenceMonitor(own, modes, batch_size, dtype, observer or (lambda record: None))
        with torch.no_grad():
            # Within a sweep the points are distinct, so that a single one has nothing to remember.
            search = Sweep(memoized(own, modes) if passes > 2 else own, modes, oversampling, ridge, tol, dtype)
            # Where the last sweep within the tolerance started: the final sweep starts there too.
            good: CrossIndices | None = None
            for _ in range(passes - 1):
                train, following = search(indices)
                if monitor is not None and monitor(train, search, tol):
                    good = indices
                    if sum(following.ranks) >= sum(indices.ranks):
                        break
                elif good is not None:
                    break
                indices = following
            indices = good or indices
        train, indices = sweep(indices)
        if monitor is not None:
            monitor(train, sweep, tol)
        if completion:
            count = math.ceil(completion * degrees_of_freedom(train.ranks, train.shape))
            digits = random_multi_indices(modes, count, generator)
            points = coordinates(modes, digits).expand(batch_size, -1, -1)
            train = als_completion(train, digits, evaluate(own, points, dtype))
        return train, indices


def _check_indices(indices: CrossIndices, modes: Sequence[Mode], rank: int, batch_size: int) -> None:
    """Raise a ValueError if index sets do not belong to these modes, this rank and this batch."""
    bounds = bond_ranks(mode_sizes(modes), rank)
    bounds = bounds[1:] if indices.side == "right" else bounds[:-1]
    axes, device = modes[0].offsets.shape[1], modes[0].offsets.device
    found = [(tuple(table.shape), table.dtype, str(table.device)) for table in indices.sets]
    fits = len(found) == len(bounds) and all(
        len(shape) == 3 and shape[0] == batch_size and 1 <= shape[1] <= bound and shape[2] == axes
        for (shape, _, _), bound in zip(found, bounds, strict=True)
    )
    if not fits or {(dtype, where) for _, dtype, where in found} != {(torch.int64, str(device))}:
        raise ValueError(
            f"the index sets are {found}; these modes, this rank and batch need int64 on {device} of the shapes "
            f"{[(batch_size, bound, axes) for bound in bounds]} (or fewer in the middle); start without indices"
        )
    check_nested(modes, indices)
