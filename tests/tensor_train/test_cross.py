"""Cross-approximation against dense tensors, TT-SVD and finite differences."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from monai_cpic.tensor_train import (
    CrossIndices,
    Field,
    Mode,
    Sweep,
    SweepRecord,
    TensorTrain,
    cross_approximate,
    flat_index,
    initial_indices,
    qtt_modes,
    tt_modes,
)

SHAPE = (8, 16, 16)


def dense_field(x: Tensor) -> Field:
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


def relative_error(tt: TensorTrain, x: Tensor, modes: Sequence[Mode]) -> Tensor:
    exact = TensorTrain.from_dense(x, modes, rank=10**6).to_dense()
    return (tt.to_dense() - exact).flatten(1).norm(dim=1) / exact.flatten(1).norm(dim=1)


def any_fields(batch: int, seed: int) -> Tensor:
    """Fields of all kinds: of low rank, constant, zero, one voxel set, noise, steps, and one with all slices alike."""
    generator = torch.Generator().manual_seed(seed)
    fields = []
    for kind in range(batch):
        noise = torch.randn(SHAPE, dtype=torch.double, generator=generator)
        voxel = torch.zeros(SHAPE, dtype=torch.double)
        voxel[tuple(torch.randint(n, (), generator=generator) for n in SHAPE)] = 1
        product = torch.einsum("i,j,k->ijk", noise[:, 0, 0], noise[0, :, 0], noise[0, 0])
        step = (noise[:, :1, :1] > 0).double().expand(SHAPE)
        choices = [
            product,
            torch.ones_like(noise),
            torch.zeros_like(noise),
            voxel,
            noise,
            noise.relu(),
            step,
            product + 1e-9 * noise,
        ]
        fields.append(choices[kind % len(choices)])
    return torch.stack(fields)


@pytest.mark.parametrize("make", [tt_modes, qtt_modes])
@pytest.mark.parametrize("oversampling", [1.0, 1.5, 2.0])
@pytest.mark.parametrize("passes", [2, 3])
def test_fields_of_low_rank_are_found(make: Callable[..., list[Mode]], oversampling: float, passes: int) -> None:
    x, modes = exponentials(4), make(SHAPE)
    tt, _ = cross_approximate(dense_field(x), modes, 4, batch_size=4, oversampling=oversampling, passes=passes, completion=0)
    assert relative_error(tt, x, modes).max() < 1e-6
    tt, _ = cross_approximate(dense_field(x), modes, 4, batch_size=4, oversampling=oversampling, passes=passes)
    assert relative_error(tt, x, modes).max() < 1e-6


def test_channels_are_a_mode_and_mixed_radix_works() -> None:
    x = torch.randn(2, 6, 10, 1, dtype=torch.double) * torch.linspace(1, 2, 3, dtype=torch.double)
    modes = qtt_modes((6, 10), channels=3)
    tt, _ = cross_approximate(dense_field(x), modes, 60, batch_size=2, completion=0)
    assert relative_error(tt, x, modes).max() < 1e-6


def test_virtual_padding_is_the_field_of_the_padded_volume() -> None:
    x, modes = blobs(2)[:, :6, :11, :13], qtt_modes(SHAPE)

    def clamped(coordinates: Tensor) -> Tensor:
        return dense_field(x)(torch.minimum(coordinates, torch.tensor([5, 10, 12, 0])))

    padded = x[:, torch.arange(8).clamp(max=5)][:, :, torch.arange(16).clamp(max=10)][..., torch.arange(16).clamp(max=12)]
    a, b = (cross_approximate(field, modes, 5, batch_size=2)[0].to_dense() for field in (clamped, dense_field(padded)))
    torch.testing.assert_close(a, b)


def test_oversampling_keeps_what_the_plain_cross_loses() -> None:
    x, modes = blobs(8), qtt_modes(SHAPE)
    best = relative_error(TensorTrain.from_dense(x, modes, 6), x, modes)
    plain, over = (
        relative_error(cross_approximate(dense_field(x), modes, 6, batch_size=8, oversampling=s, completion=0)[0], x, modes)
        for s in (1.0, 2.0)
    )
    assert over.median() < plain.median()
    assert (over > best).all() and over.median() < 2.5 * best.median()
    default = relative_error(cross_approximate(dense_field(x), modes, 6, batch_size=8)[0], x, modes)
    assert default.median() < over.median() and default.max() < 1.3 * best.max()


@pytest.mark.parametrize("passes", [1, 2, 3])
def test_batched_equals_per_item(passes: int) -> None:
    x, modes = blobs(3), qtt_modes(SHAPE)
    tt, indices = cross_approximate(dense_field(x), modes, 5, batch_size=3, passes=passes)
    for b in range(3):
        one, own = cross_approximate(dense_field(x[b : b + 1]), modes, 5, passes=passes)
        torch.testing.assert_close(tt[b : b + 1].to_dense(), one.to_dense())
        assert all(torch.equal(a, c) for a, c in zip(indices[b : b + 1].sets, own.sets, strict=True))


def test_warm_start_continues_the_sweeps() -> None:
    x, modes = blobs(2), qtt_modes(SHAPE)
    together, _ = cross_approximate(dense_field(x), modes, 5, batch_size=2, passes=3, completion=0)
    _, indices = cross_approximate(dense_field(x), modes, 5, batch_size=2, passes=2)
    indices = CrossIndices.from_state_dict(indices.to(torch.int16).state_dict()).to(torch.int64)
    apart, _ = cross_approximate(dense_field(x), modes, 5, batch_size=2, passes=1, indices=indices, completion=0)
    torch.testing.assert_close(together.to_dense(), apart.to_dense())
    halves = CrossIndices.cat([indices[:1], indices[1:]])
    assert all(torch.equal(a, b) for a, b in zip(halves.sets, indices.sets, strict=True))


def test_right_to_left_is_left_to_right_on_the_mirrored_field() -> None:
    x = blobs(1)
    modes = tt_modes(SHAPE)
    start = initial_indices(modes[::-1], 5)  # right sets of the mirrored modes are left sets of these
    mirrored = CrossIndices(start.sets[::-1], "left")
    a, _ = cross_approximate(dense_field(x), modes, 5, passes=1, indices=mirrored, completion=0)
    b, _ = cross_approximate(dense_field(x), modes[::-1], 5, passes=1, indices=start, completion=0)
    torch.testing.assert_close(a.to_dense(), b.to_dense().permute(0, 3, 2, 1))


@pytest.mark.parametrize("side", ["right", "left"])
def test_one_sweep_has_exact_gradients(side: str) -> None:
    """The chosen rows do not change under finite differences, so gradcheck sees the sweep with fixed indices."""
    modes = qtt_modes((4, 4), channels=2)
    x = torch.randn(2, 4, 4, 2, dtype=torch.double, requires_grad=True)
    _, indices = cross_approximate(dense_field(x.detach()), modes, 3, batch_size=2, passes=2 if side == "right" else 1)
    assert indices.side == side

    def values(y: Tensor) -> Tensor:
        return cross_approximate(dense_field(y), modes, 3, batch_size=2, passes=1, indices=indices, completion=0)[0].to_dense()

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
    assert error[0] < 1e-7 and error[2] < 1e-7


def test_evaluations_grow_with_the_logarithm_of_the_size() -> None:
    def evaluations(size: int) -> int:
        count = 0

        def field(coordinates: Tensor) -> Tensor:
            nonlocal count
            count += coordinates.shape[1]
            return coordinates.double().sin().sum(-1)

        cross_approximate(field, qtt_modes((size,) * 3), 10, passes=1, completion=0)
        return count

    counts = [evaluations(2**k) for k in (8, 9, 10)]
    # one more bit for each of three axes, 15 rows, 2 digits, 10 columns, of which half the values are known from the bond before
    assert counts[2] - counts[1] == counts[1] - counts[0] == 3 * 15 * 10


@pytest.mark.parametrize("make", [tt_modes, qtt_modes])
def test_a_sweep_asks_for_every_point_once(make: Callable[..., list[Mode]]) -> None:
    modes, x = make(SHAPE), blobs(3)
    indices = None
    for _ in range(3):
        asked: list[Tensor] = []

        def field(coordinates: Tensor, asked: list[Tensor] = asked) -> Tensor:
            asked.append(flat_index(modes, coordinates))
            return dense_field(x)(coordinates)

        _, indices = cross_approximate(field, modes, 5, batch_size=3, passes=1, indices=indices, completion=0)
        for row in torch.cat(asked, 1):
            assert len(row.unique()) == len(row)


@pytest.mark.parametrize("make", [tt_modes, qtt_modes])
def test_the_points_of_a_repeated_sweep_are_known_before(make: Callable[..., list[Mode]]) -> None:
    modes, x = make(SHAPE), blobs(3)
    _, indices = cross_approximate(dense_field(x), modes, 5, batch_size=3, passes=1, completion=0)
    for start in (initial_indices(modes, 5, batch_size=3), indices):  # one of each side
        sweep = Sweep(dense_field(x), modes)
        train, following = sweep(start)
        repeat = CrossIndices.from_state_dict(sweep.repeat.to(torch.int32).state_dict()).to(torch.int64)
        asked: list[Tensor] = []

        def field(coordinates: Tensor, asked: list[Tensor] = asked) -> Tensor:
            asked.append(coordinates)
            return dense_field(x)(coordinates)

        again, same = cross_approximate(field, modes, 5, batch_size=3, passes=1, completion=0, indices=repeat)
        torch.testing.assert_close(again.to_dense(), train.to_dense())
        assert all(torch.equal(a, b) for a, b in zip(same.sets, following.sets, strict=True))
        known = repeat.coordinates(modes)
        assert torch.cat(asked, 1).unique(dim=1).equal(known.unique(dim=1))
        halves = CrossIndices.cat([repeat[:1], repeat[1:]])
        assert halves.coordinates(modes).equal(known)
        with pytest.raises(ValueError, match="chooses its rows"):
            following.coordinates(modes)
        with pytest.raises(ValueError, match="sets with rows and without"):
            CrossIndices.cat([repeat, start])


def test_values_are_memoized_between_the_sweeps_without_gradient() -> None:
    modes, x, asked = qtt_modes(SHAPE), exponentials(1), []

    def field(coordinates: Tensor) -> Tensor:
        asked.append(coordinates.shape[1])
        return dense_field(x)(coordinates)

    records: list[SweepRecord] = []
    cross_approximate(field, modes, 3, passes=5, completion=0, observer=records.append)
    assert sum(asked[1:]) < sum(record.evaluations for record in records)
    assert asked[0] == 1000  # for the estimate of the error


def test_records_of_the_sweeps() -> None:
    modes, x = qtt_modes(SHAPE), blobs(4)
    records: list[SweepRecord] = []
    tt, _ = cross_approximate(dense_field(x), modes, 6, batch_size=4, passes=3, completion=0, observer=records.append)
    unseen, _ = cross_approximate(dense_field(x), modes, 6, batch_size=4, passes=3)
    seen, _ = cross_approximate(dense_field(x), modes, 6, batch_size=4, passes=3, observer=lambda record: None)
    torch.testing.assert_close(seen.to_dense(), unseen.to_dense())
    assert len(records) == 3 and records[-1].ranks == tt.ranks
    assert records[0].distinct == records[0].evaluations < records[1].distinct < records[2].distinct
    exact = (tt.to_dense() - TensorTrain.from_dense(x, modes, 10**6).to_dense()).flatten(1).norm(dim=1) / x.flatten(1).norm(dim=1)
    torch.testing.assert_close(records[-1].error, exact, rtol=0.25, atol=0)
    assert all((record.condition >= 1).all() for record in records)


def test_a_tolerance_lowers_ranks_and_ends_the_sweeps() -> None:
    modes, x = qtt_modes(SHAPE), torch.cat([exponentials(1, terms=1), exponentials(1, terms=3)])
    records: list[SweepRecord] = []
    tt, indices = cross_approximate(dense_field(x), modes, 12, batch_size=2, passes=6, tol=1e-6, observer=records.append)
    assert max(tt.ranks) == 3 and max(indices.ranks) == 3
    assert relative_error(tt, x, modes).max() < 1e-6
    assert len(records) < 6
    assert records[-1].evaluations < records[0].evaluations / 3
    again, _ = cross_approximate(dense_field(x), modes, 12, batch_size=2, passes=1, indices=indices)  # lower ranks go on
    assert relative_error(again, x, modes).max() < 1e-6


def test_a_tolerance_that_noise_forbids_keeps_the_ranks() -> None:
    modes = qtt_modes(SHAPE)
    x = exponentials(1) + 0.02 * torch.randn(1, *SHAPE, dtype=torch.double)
    records: list[SweepRecord] = []
    cross_approximate(dense_field(x), modes, 8, passes=5, tol=1e-3, observer=records.append)
    assert len(records) == 5 and all(max(record.ranks) == 8 for record in records)


def test_records_of_degenerate_fields() -> None:
    x = torch.zeros(2, *SHAPE)
    x[1] = 1
    records: list[SweepRecord] = []
    cross_approximate(dense_field(x), qtt_modes(SHAPE), 4, batch_size=2, observer=records.append)
    assert len(records) == 2
    assert all(record.condition.isfinite().all() and (record.condition >= 1).all() for record in records)
    assert all(record.error.isfinite().all() for record in records)


def test_modes_that_do_not_fill_their_grid() -> None:
    tables = [torch.tensor([[0, 0], [4, 0]]), torch.tensor([[0, 0], [2, 0]])]
    x = torch.randn(2, 7, dtype=torch.double)
    tt, _ = cross_approximate(dense_field(x), [Mode(table) for table in tables], 2, batch_size=2, passes=3)
    torch.testing.assert_close(tt.to_dense(), x[:, ::2].reshape(2, 2, 2))


def test_float32_is_close_and_twice_the_same() -> None:
    modes, x = qtt_modes(SHAPE), blobs(3)
    single, _ = cross_approximate(dense_field(x), modes, 6, batch_size=3, dtype=torch.float32, completion=0)
    assert single.cores[0].dtype == torch.float32
    again, _ = cross_approximate(dense_field(x), modes, 6, batch_size=3, dtype=torch.float32, completion=0)
    torch.testing.assert_close(single.to_dense(), again.to_dense())
    sweep = Sweep(dense_field(x), modes)
    double, _ = sweep(initial_indices(modes, 6, batch_size=3))
    single, _ = cross_approximate(  # from the same rows: rounding may choose others
        dense_field(x), modes, 6, batch_size=3, passes=1, completion=0, indices=sweep.repeat, dtype=torch.float32
    )
    torch.testing.assert_close(single.to_dense().double(), double.to_dense(), rtol=0, atol=1e-4)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31), single=st.booleans(), exponent=st.sampled_from([-12, 0, 12]), completion=st.sampled_from([0, 6])
)
def test_no_field_breaks_it(seed: int, single: bool, exponent: int, completion: int) -> None:
    x = any_fields(8, seed).mul(10.0**exponent).to(torch.float32 if single else torch.float64).requires_grad_()
    modes = qtt_modes(SHAPE)
    dtype = torch.float32 if single else torch.float64
    tt, _ = cross_approximate(dense_field(x), modes, 6, batch_size=len(x), dtype=dtype, completion=completion)
    (tt.evaluate(torch.randint(2, (50, len(modes)))) / 10.0**exponent).square().sum().backward()
    assert all(core.isfinite().all() for core in tt) and x.grad is not None and x.grad.isfinite().all()


# ---- errors --------------------------------------------------------------------------------------------------------------

MODES = tt_modes((4, 4))


def zero(coordinates: Tensor) -> Tensor:
    return torch.zeros(coordinates.shape[:2])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rank": 0}, "rank.* must be at least 1.*rank=0"),
        ({"oversampling": 0.9}, "must be at least 1.*oversampling=0.9"),
        ({"oversampling": math.nan}, "must be at least 1.*oversampling=nan"),
        ({"passes": 0}, "must be at least 1.*passes=0"),
        ({"batch_size": 0}, "must be at least 1.*batch_size=0"),
        ({"modes": []}, "number of modes must be at least 1.*0 modes"),
        ({"ridge": 0.0}, "ridge positive.*ridge=0.0"),
        ({"completion": -1}, "completion not negative.*completion=-1"),
        ({"completion": math.inf}, "completion not negative.*completion=inf"),
        ({"tol": 0.0}, "tol must be positive, got 0.0"),
        ({"tol": math.nan}, "tol must be positive, got nan"),
    ],
)
def test_numbers_out_of_range_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cross_approximate(zero, **{"modes": MODES, "rank": 2, **arguments})


@pytest.mark.parametrize("arguments", [{"rank": 2.5}, {"dtype": torch.float16}])
def test_arguments_of_another_type_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=r"dtype must be torch.float32 or torch.float64 and rank an int"):
        cross_approximate(zero, **{"modes": MODES, "rank": 2, **arguments})


@pytest.mark.parametrize(
    ("field", "error", "message"),
    [
        (lambda c: torch.zeros(1, 3), ValueError, r"values \[1, 8\], got \[1, 3\]"),
        (lambda c: c[..., 0], TypeError, r"floating-point tensor, got torch\.int64"),
        (lambda c: c.tolist(), TypeError, "floating-point tensor, got list"),
        (lambda c: torch.zeros(c.shape[:2], device="meta"), ValueError, "values on meta, its coordinates are on cpu"),
        (lambda c: zero(c) + math.nan, FloatingPointError, r"returned nan for item 0 of the batch at coordinate \[0, "),
        (lambda c: zero(c) + math.inf, FloatingPointError, r"returned inf for item 0 of the batch at coordinate \[0, "),
        (lambda c: zero(c).double() + 1e39, FloatingPointError, r"must be finite in torch\.float32"),
    ],
    ids=["shape", "integers", "list", "device", "nan", "infinite", "overflow"],
)
def test_what_a_field_must_not_return(field: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        cross_approximate(field, MODES, 2, passes=1, dtype=torch.float32)


@pytest.mark.parametrize(
    ("modes", "indices", "message"),
    [
        (MODES, initial_indices(tt_modes((4, 4, 4)), 2), "start without indices"),
        (MODES, initial_indices(tt_modes((4, 4, 4))[:2], 2), "start without indices"),
        (MODES, initial_indices(tt_modes((4, 40)), 2), "the index sets are not nested"),
        (MODES, CrossIndices((), "right"), "start without indices"),
        (MODES, initial_indices(MODES, 2).to(torch.int32), "need int64"),
        # as many voxels, and flat positions that look alike:
        (qtt_modes((4, 4)), initial_indices(qtt_modes((2, 8)), 2), "start without indices"),
        (qtt_modes((4, 4)), initial_indices(qtt_modes((8, 2)), 2), "start without indices"),
    ],
    ids=["more modes", "more axes", "another size", "none", "int32", "wide", "tall"],
)
def test_index_sets_of_another_tensorization_are_refused(modes: list[Mode], indices: CrossIndices, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cross_approximate(zero, modes, 2, indices=indices)


def test_index_sets_have_one_side() -> None:
    with pytest.raises(ValueError, match='side must be "left" or "right", got \'top\''):
        CrossIndices((), "top")
    right, left = initial_indices(MODES, 2), cross_approximate(zero, MODES, 2, passes=1)[1]
    with pytest.raises(ValueError, match="left and right index sets.* cannot share a batch"):
        CrossIndices.cat([right, left])
