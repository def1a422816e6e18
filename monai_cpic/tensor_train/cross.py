"""Cross-approximation: a tensor train from the few entries of a field that the method itself asks for.

Passes (:mod:`~monai_cpic.tensor_train.sweep`) alternate their direction: the rows chosen by one are the columns of the next
(Oseledets and Tyrtyshnikov 2010; paper, section 3.2).  Choosing more rows than columns turns interpolation into least squares,
which keeps what a square cross loses on fields that are not exactly of low rank; a fit to scattered values
(:mod:`~monai_cpic.tensor_train.completion`) brings the result close to the best tensor train.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch

from monai_cpic.tensor_train.completion import complete, parameters
from monai_cpic.tensor_train.field import Field, evaluate, remembering
from monai_cpic.tensor_train.indices import CrossIndices, initial_indices
from monai_cpic.tensor_train.modes import Mode, coordinates, mode_sizes, random_digits
from monai_cpic.tensor_train.sweep import Sweep
from monai_cpic.tensor_train.tensor_train import TensorTrain, bond_ranks
from monai_cpic.tensor_train.watch import PassRecord, Watch

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
    observer: Callable[[PassRecord], None] | None = None,
) -> tuple[TensorTrain, CrossIndices]:
    """Tensor trains of ``batch_size`` fields, differentiable through the values of the last pass and of the completion.

    Args:
        field: values ``[B, P]`` at coordinates ``[B, P, D + 1]``; differentiable in whatever it depends on.
        modes: the tensorization of the grid (:func:`~monai_cpic.tensor_train.modes.qtt_modes`).
        rank: bond rank, lower where the modes to one side have fewer entries.
        batch_size: number ``B`` of fields.
        oversampling: rows per bond are ``⌈oversampling · rank⌉``; 1 is the plain cross of the paper.
        passes: passes of alternating direction; all but the last are evaluated without gradient.
        completion: random coordinates for each degree of freedom at which the field is evaluated for a least-squares fit that
            starts from the last pass (:func:`~monai_cpic.tensor_train.completion.complete`), or 0 for none: the fastest, as a
            step of training needs it.
        tol: relative error that is good enough: bond ranks shrink from pass to pass where all fields of the batch allow it, and
            the passes end when the estimated error is below it.
        indices: index sets of an earlier call (a warm start; one pass is then a training step); else random ones, the same for
            all fields of the batch.
        ridge: regularisation of the interpolation (:func:`~monai_cpic.tensor_train.interpolation.interpolate`).
        dtype: of the tensor trains and their computation; ``torch.float32`` is faster and met to about ``1e-5``.
        generator: random numbers; default: a fresh one with seed 0, so that calls repeat.
        observer: called with the :class:`PassRecord` of every pass; costs the evaluations of the error estimate.

    Returns:
        the tensor trains and the index sets for the next call.

    Raises:
        TypeError, ValueError, FloatingPointError: if a parameter is out of range, the index sets belong to other modes, or the
            field returns something else than finite numbers of the right shape, on the right device
            (:func:`~monai_cpic.tensor_train.field.evaluate`).

    Example:
        >>> from monai_cpic.tensor_train import qtt_modes
        >>> field = lambda c: torch.sin(0.1 * c[..., 0]) + 0.01 * c[..., 1]
        >>> tt, indices = cross_approximate(field, qtt_modes((64, 64)), rank=4)
        >>> tt.shape == (2,) * 12
        True
    """
    if rank < 1 or oversampling < 1 or passes < 1 or batch_size < 1 or not modes or ridge <= 0 or completion < 0:
        raise ValueError(
            "rank, oversampling, passes, batch_size and the number of modes must be at least 1, ridge positive and completion "
            f"not negative, got rank={rank}, oversampling={oversampling}, passes={passes}, batch_size={batch_size}, "
            f"{len(modes)} modes, ridge={ridge}, completion={completion}"
        )
    if tol is not None and tol <= 0:
        raise ValueError(f"tol must be positive, got {tol}")
    generator = generator or torch.Generator().manual_seed(0)
    if indices is None:
        indices = initial_indices(modes, rank, batch_size=batch_size, generator=generator)
    _check(indices, modes, rank, batch_size)
    sweep = Sweep(field, modes, oversampling, ridge, tol, dtype)
    watch = None
    if observer is not None or tol is not None:
        watch = Watch(field, modes, batch_size, generator, dtype, observer or (lambda record: None))
    with torch.no_grad():
        searching = Sweep(remembering(field, modes), modes, oversampling, ridge, tol, dtype)
        for _ in range(passes - 1):
            train, indices = searching(indices)
            if watch is not None and watch(train, searching, tol):
                break
    train, indices = sweep(indices)
    if watch is not None:
        watch(train, sweep, tol)
    if completion:
        count = math.ceil(completion * parameters(train.ranks, train.shape))
        digits = random_digits(modes, count, generator)
        places = coordinates(modes, digits).expand(batch_size, -1, -1)
        train = complete(train, digits, evaluate(field, places, dtype))
    return train, indices


def _check(indices: CrossIndices, modes: Sequence[Mode], rank: int, batch_size: int) -> None:
    """Raise if index sets do not belong to these modes and this batch; that they are nested is seen by the pass."""
    bounds = bond_ranks(mode_sizes(modes), rank)
    bounds = bounds[1:] if indices.side == "right" else bounds[:-1]
    axes, device = modes[0].offsets.shape[1], modes[0].offsets.device
    found = [tuple(table.shape) for table in indices.sets]
    fits = len(found) == len(bounds) and all(
        len(shape) == 3 and shape[0] == batch_size and 1 <= shape[1] <= bound and shape[2] == axes
        for shape, bound in zip(found, bounds, strict=True)
    )
    if not fits or indices.sets[0].dtype != torch.int64:
        raise ValueError(
            f"the index sets have sizes {found} ({indices.sets[0].dtype}), these modes, rank and batch need int64 "
            f"{[(batch_size, bound, axes) for bound in bounds]} (or fewer in the middle); start without indices"
        )
    if indices.sets[0].device != device:
        raise ValueError(f"the index sets are on {indices.sets[0].device}, the modes on {device}")
