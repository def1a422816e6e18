"""Cross-approximation against dense tensors, TT-SVD and finite differences."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from monai_cpic.tensor_train import (
    CrossIndices,
    TensorTrain,
    cross_approximate,
    initial_indices,
    interpolate,
    qtt_modes,
    tt_modes,
)

SHAPE = (8, 16, 16)


def dense_field(x: Tensor):
    """The field whose values are the entries of ``x`` [B, *shape] or [B, *shape, channels]."""

    def field(coordinates: Tensor) -> Tensor:
        index = coordinates.unbind(-1)
        if x.ndim == len(index):
            index = index[:-1]
        return x[(torch.arange(len(x))[:, None], *index)]

    return field


def exponentials(batch: int, terms: int = 3) -> Tensor:
    """Sums of exponentials: of rank ``terms`` at every bond, whatever the tensorization."""
    rates = [2 * torch.rand(batch, 1, terms, dtype=torch.double) - 1 for _ in SHAPE]
    a, b, c = (torch.exp(rate * torch.linspace(-1, 2, n)[:, None]) for rate, n in zip(rates, SHAPE, strict=True))
    return torch.einsum("bir,bjr,bkr->bijk", a, b, c)


def blobs(batch: int) -> Tensor:
    """Smooth fields with noise: not of low rank."""
    grid = torch.stack(torch.meshgrid(*[torch.linspace(-1, 1, n, dtype=torch.double) for n in SHAPE], indexing="ij"))
    centres = torch.rand(batch, 3, 1, 1, 1, dtype=torch.double) - 0.5
    return torch.exp(-4 * (grid - centres).square().sum(1)) + 0.05 * torch.randn(batch, *SHAPE, dtype=torch.double)


def relative_error(tt: TensorTrain, x: Tensor, modes) -> Tensor:
    exact = TensorTrain.from_dense(x, modes, rank=10**6).to_dense()
    return (tt.to_dense() - exact).flatten(1).norm(dim=1) / exact.flatten(1).norm(dim=1)


@pytest.mark.parametrize("make", [tt_modes, qtt_modes])
@pytest.mark.parametrize("oversampling", [1.0, 1.5, 2.0])
@pytest.mark.parametrize("passes", [2, 3])
def test_fields_of_low_rank_are_found(make, oversampling: float, passes: int) -> None:
    x, modes = exponentials(4), make(SHAPE)
    tt, _ = cross_approximate(dense_field(x), modes, 4, batch_size=4, oversampling=oversampling, passes=passes, ridge=1e-9)
    assert relative_error(tt, x, modes).max() < 1e-6


def test_channels_are_a_mode_and_mixed_radix_works() -> None:
    x = torch.randn(2, 6, 10, 1, dtype=torch.double) * torch.linspace(1, 2, 3, dtype=torch.double)
    modes = qtt_modes((6, 10), channels=3)
    tt, _ = cross_approximate(dense_field(x), modes, 60, batch_size=2, ridge=1e-9)
    assert relative_error(tt, x, modes).max() < 1e-6


def test_oversampling_keeps_what_the_plain_cross_loses() -> None:
    x, modes = blobs(8), qtt_modes(SHAPE)
    best = relative_error(TensorTrain.from_dense(x, modes, 6), x, modes)
    plain, over = (
        relative_error(cross_approximate(dense_field(x), modes, 6, batch_size=8, oversampling=s)[0], x, modes) for s in (1.0, 2.0)
    )
    assert over.median() < plain.median()
    assert (over > best).all() and over.median() < 2.5 * best.median()


@pytest.mark.parametrize("passes", [1, 2, 3])
def test_batched_equals_per_item(passes: int) -> None:
    x, modes = blobs(3), qtt_modes(SHAPE)
    tt, indices = cross_approximate(dense_field(x), modes, 5, batch_size=3, passes=passes)
    for b in range(3):
        one, own = cross_approximate(dense_field(x[b : b + 1]), modes, 5, passes=passes)
        torch.testing.assert_close(tt[b : b + 1].to_dense(), one.to_dense())
        assert all(torch.equal(a, c) for a, c in zip(indices[b : b + 1].sets, own.sets, strict=True))


def test_warm_start_continues_the_passes() -> None:
    x, modes = blobs(2), qtt_modes(SHAPE)
    together, _ = cross_approximate(dense_field(x), modes, 5, batch_size=2, passes=3)
    _, indices = cross_approximate(dense_field(x), modes, 5, batch_size=2, passes=2)
    indices = CrossIndices.from_state_dict(indices.to(torch.int16).state_dict()).to(torch.int64)
    apart, _ = cross_approximate(dense_field(x), modes, 5, batch_size=2, passes=1, indices=indices)
    torch.testing.assert_close(together.to_dense(), apart.to_dense())
    halves = CrossIndices.cat([indices[:1], indices[1:]])
    assert all(torch.equal(a, b) for a, b in zip(halves.sets, indices.sets, strict=True))


def test_right_to_left_is_left_to_right_on_the_mirrored_field() -> None:
    x = blobs(1)
    modes = tt_modes(SHAPE)
    start = initial_indices(modes[::-1], 5)  # right sets of the mirrored modes are left sets of these
    mirrored = CrossIndices(start.sets[::-1], "left")
    a, _ = cross_approximate(dense_field(x), modes, 5, passes=1, indices=mirrored)
    b, _ = cross_approximate(dense_field(x), modes[::-1], 5, passes=1, indices=start)
    torch.testing.assert_close(a.to_dense(), b.to_dense().permute(0, 3, 2, 1))


@pytest.mark.parametrize("side", ["right", "left"])
def test_one_pass_has_exact_gradients(side: str) -> None:
    """The chosen rows do not change under finite differences, so gradcheck sees the pass with fixed indices."""
    modes = qtt_modes((4, 4), channels=2)
    x = torch.randn(2, 4, 4, 2, dtype=torch.double, requires_grad=True)
    _, indices = cross_approximate(dense_field(x.detach()), modes, 3, batch_size=2, passes=2 if side == "right" else 1)
    assert indices.side == side

    def values(y: Tensor) -> Tensor:
        return cross_approximate(dense_field(y), modes, 3, batch_size=2, passes=1, indices=indices)[0].to_dense()

    assert torch.autograd.gradcheck(values, x)


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_degenerate_fields_have_finite_values_and_gradients(scale: float) -> None:
    zero = torch.zeros(SHAPE)
    one = zero.clone()
    one[3, 7, 2] = 1
    half = zero.clone()
    half[:, :8] = 1
    x = (scale * torch.stack([zero, zero + 1, one, half])).requires_grad_()
    modes = qtt_modes(SHAPE)
    tt, _ = cross_approximate(dense_field(x), modes, 6, batch_size=4)
    tt.inner(tt.detach()).sum().backward()
    assert all(core.isfinite().all() for core in tt) and x.grad is not None and x.grad.isfinite().all()
    error = relative_error(tt[1:], x.detach()[1:].double(), modes)
    assert error[0] < 1e-3 and error[2] < 1e-3  # constant and half: the ridge's bias only


def test_ridge_interpolation_against_the_normal_equations() -> None:
    p, v = torch.randn(3, 7, 4, dtype=torch.double), torch.randn(3, 7, 5, dtype=torch.double)
    damping = (0.1 * p.abs().amax((1, 2)))[:, None, None]
    expected = torch.linalg.solve(p.mT @ p + damping**2 * torch.eye(4, dtype=torch.double), p.mT @ v)
    torch.testing.assert_close(interpolate(p, v, 0.1), expected)
    assert interpolate(torch.zeros_like(p), v, 0.1).abs().max() == 0
    assert torch.autograd.gradcheck(lambda b: interpolate(p, b, 0.1), v.requires_grad_())


def test_evaluations_grow_with_the_logarithm_of_the_size() -> None:
    def evaluations(size: int) -> int:
        count = 0

        def field(coordinates: Tensor) -> Tensor:
            nonlocal count
            count += coordinates.shape[1]
            return coordinates.double().sin().sum(-1)

        cross_approximate(field, qtt_modes((size,) * 3), 10, passes=1)
        return count

    counts = [evaluations(2**k) for k in (8, 9, 10)]
    # one more bit for each of three axes, 15 rows, 2 digits, 10 columns
    assert counts[2] - counts[1] == counts[1] - counts[0] == 3 * 15 * 2 * 10


def test_errors_say_what_was_expected() -> None:
    modes, field = tt_modes((4, 4)), dense_field(torch.zeros(1, 4, 4))
    for wrong in ({"rank": 0}, {"rank": 2, "oversampling": 0.9}, {"rank": 2, "passes": 0}, {"rank": 2, "ridge": 0.0}):
        with pytest.raises(ValueError, match="at least 1"):
            cross_approximate(field, modes, **wrong)
    with pytest.raises(ValueError, match="at least 1"):
        cross_approximate(field, [], 2)
    with pytest.raises(ValueError, match=r"values \[1, 8\], got \(1, 3\)"):
        cross_approximate(lambda c: torch.zeros(1, 3), modes, 2)
    with pytest.raises(FloatingPointError, match="coordinate"):
        cross_approximate(lambda c: c[..., 0] * math.nan, modes, 2)
    with pytest.raises(ValueError, match="start without indices"):
        cross_approximate(field, modes, 2, indices=initial_indices(tt_modes((4, 4, 4)), 2))
    with pytest.raises(ValueError, match="side"):
        CrossIndices((), "top")
    right, left = initial_indices(modes, 2), cross_approximate(field, modes, 2, passes=1)[1]
    with pytest.raises(ValueError, match="share a batch"):
        CrossIndices.cat([right, left])
