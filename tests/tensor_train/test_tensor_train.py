"""Tensor trains against the dense tensors that they represent."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch

from monai_cpic.tensor_train import Mode, TensorTrain, coordinates, mode_sizes, qtt_modes, tt_modes


def random_train(batch: int, shape: tuple[int, ...], rank: int, requires_grad: bool = False) -> TensorTrain:
    ranks = [1] + [rank] * (len(shape) - 1) + [1]
    cores = zip(ranks, shape, ranks[1:], strict=False)
    return TensorTrain([torch.randn(batch, a, n, b, dtype=torch.double, requires_grad=requires_grad) for a, n, b in cores])


def test_evaluate_and_dense_agree() -> None:
    tt = random_train(3, (2, 4, 3), 5)
    digits = torch.tensor(list(itertools.product(range(2), range(4), range(3))))
    torch.testing.assert_close(tt.evaluate(digits), tt.to_dense().reshape(3, -1))


def test_inner_and_norm_against_dense() -> None:
    a, b = random_train(3, (2, 4, 3, 2), 5), random_train(2, (2, 4, 3, 2), 4)
    dense = a.to_dense().reshape(3, -1) @ b.to_dense().reshape(2, -1).T
    torch.testing.assert_close(a.inner(b), dense)
    torch.testing.assert_close(a.norm(), a.to_dense().reshape(3, -1).norm(dim=1))


def test_inner_is_invariant_to_the_gauge() -> None:
    a, b = random_train(2, (3, 4, 3), 4), random_train(2, (3, 4, 3), 3)
    g = torch.randn(2, 4, 4, dtype=torch.double) + 3 * torch.eye(4)
    cores = list(a.cores)
    cores[0] = torch.einsum("bink,bkl->binl", cores[0], g)
    cores[1] = torch.einsum("bij,bjnk->bink", torch.linalg.inv(g), cores[1])
    torch.testing.assert_close(TensorTrain(cores).inner(b), a.inner(b))


def test_tt_svd_is_exact_at_full_rank_and_optimal_for_matrices() -> None:
    x = torch.randn(2, 4, 4, 3, dtype=torch.double)
    torch.testing.assert_close(TensorTrain.from_dense(x, (4, 4, 3), rank=16).to_dense(), x)
    m = torch.randn(2, 6, 8, dtype=torch.double)
    tt = TensorTrain.from_dense(m, (6, 8), rank=3)
    tail = torch.linalg.svdvals(m)[:, 3:].square().sum(1).sqrt()
    torch.testing.assert_close((tt.to_dense() - m).flatten(1).norm(dim=1), tail)


@pytest.mark.parametrize("make", [tt_modes, qtt_modes])
def test_tt_svd_through_modes_puts_every_entry_at_its_coordinate(make: Callable[..., list[Mode]]) -> None:
    x = torch.randn(2, 4, 6, 3, dtype=torch.double)
    modes = make((4, 6), channels=3)
    tt = TensorTrain.from_dense(x, modes, rank=64)
    digits = torch.tensor(list(itertools.product(*(range(n) for n in mode_sizes(modes)))))
    i, j, c = coordinates(modes, digits).unbind(1)
    torch.testing.assert_close(tt.evaluate(digits), x[:, i, j, c])


def test_round_by_rank_is_tt_svd_and_by_tolerance_keeps_it() -> None:
    x = torch.randn(2, 4, 4, 4, dtype=torch.double)
    full = TensorTrain.from_dense(x, (4, 4, 4), rank=16)
    torch.testing.assert_close(full.round(rank=3).to_dense(), TensorTrain.from_dense(x, (4, 4, 4), rank=3).to_dense())
    for tol in (0.5, 0.1, 0.0):
        rounded = full.round(tol=tol)
        error = (rounded.to_dense() - x).flatten(1).norm(dim=1) / x.flatten(1).norm(dim=1)
        assert (error <= tol + 1e-12).all()
    low = random_train(2, (4, 4, 4), 2)
    padded = TensorTrain([torch.cat([low.cores[0]] * 2, 3) / 2, torch.cat([low.cores[1]] * 2, 1), low.cores[2]])
    assert padded.round(tol=1e-10).ranks == (1, 2, 2, 1)
    torch.testing.assert_close(padded.round(tol=1e-10).to_dense(), low.to_dense())


def test_a_tolerance_is_met_by_each_tensor_with_the_rank_it_needs() -> None:
    low, high = random_train(1, (4, 4, 4), 1), random_train(1, (4, 4, 4), 3)
    both = TensorTrain.cat([low + 0.0 * high, high + 0.0 * low]).round(tol=1e-10)
    assert both.ranks == (1, 3, 3, 1)
    torch.testing.assert_close(both[:1].to_dense(), low.to_dense())
    assert both.cores[-1][0, 1:].abs().max() == 0  # the first has zeros where only the second needs more


@pytest.mark.parametrize("sizes", [(5,), (2, 3), (2, 3, 4, 2)])
def test_sums_and_multiples_against_dense(sizes: tuple[int, ...]) -> None:
    a, b, one = random_train(3, sizes, 2), random_train(3, sizes, 3), random_train(1, sizes, 2)
    torch.testing.assert_close((a + b).to_dense(), a.to_dense() + b.to_dense())
    torch.testing.assert_close((a - one).to_dense(), a.to_dense() - one.to_dense())
    torch.testing.assert_close((2.5 * a).to_dense(), 2.5 * a.to_dense())
    factors = torch.randn(3, dtype=torch.double)
    torch.testing.assert_close((a * factors).to_dense(), torch.einsum("b,b...->b...", factors, a.to_dense()))
    assert torch.autograd.gradcheck(lambda *c: (TensorTrain(c) - 3 * one).to_dense(), [c.requires_grad_() for c in a])


def test_sums_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="different shapes"):
        random_train(1, (2, 3), 2) + random_train(1, (2, 4), 2)
    with pytest.raises(ValueError, match="batches of 2 and 3"):
        random_train(2, (2, 3), 2) + random_train(3, (2, 3), 2)


def test_single_precision_is_safe_for_inner_products() -> None:
    """The cheaper path of the projection: products of orthonormal factors lose no more than rounding."""
    a, b = random_train(4, (2,) * 20, 8), random_train(5, (2,) * 20, 8)
    scale = a.norm()[:, None] * b.norm()
    single = a.to(torch.float32).inner(b.to(torch.float32)).double()
    assert ((single - a.inner(b)).abs() / scale).max() < 1e-5


def test_algebra_has_gradients() -> None:
    cores = [core.requires_grad_() for core in random_train(2, (2, 3, 2), 2)]
    other = random_train(3, (2, 3, 2), 2)
    assert torch.autograd.gradcheck(lambda *c: TensorTrain(c).inner(other), cores)
    assert torch.autograd.gradcheck(lambda *c: TensorTrain(c).norm(), cores)
    zero = torch.zeros(1, 1, 3, 1, requires_grad=True)
    TensorTrain([zero]).norm().sum().backward()
    assert zero.grad is not None and zero.grad.abs().sum() == 0
    digits = torch.tensor([[0, 2, 1], [1, 0, 0]])
    assert torch.autograd.gradcheck(lambda *c: TensorTrain(c).evaluate(digits), cores)


def test_cat_index_and_state_dict() -> None:
    a, b = random_train(2, (2, 3), 2), random_train(1, (2, 3), 2)
    both = TensorTrain.cat([a, b])
    torch.testing.assert_close(both[2:].to_dense(), b.to_dense())
    again = TensorTrain.from_state_dict(both.state_dict())
    torch.testing.assert_close(again.to_dense(), both.to_dense())
    assert both.to(torch.float32).cores[0].dtype == torch.float32
    assert len(both) == 3 and "shape=(2, 3)" in repr(both)


def test_wrong_shapes_are_refused() -> None:
    good = random_train(1, (2, 3), 2)
    for cores in ([], [torch.zeros(2, 2)], [good.cores[0]], [good.cores[1], good.cores[0]]):
        with pytest.raises(ValueError, match="core"):
            TensorTrain(cores)
    with pytest.raises(ValueError, match="shapes"):
        good.inner(random_train(1, (2, 4), 2))
    with pytest.raises(ValueError, match="digits"):
        good.evaluate(torch.zeros(4, 3, dtype=torch.int64))
    with pytest.raises(ValueError, match="digits from -1 to 0 of a mode of size 2"):
        good.evaluate(torch.tensor([[-1, 0], [0, 0]]))
    with pytest.raises(ValueError, match="rank"):
        TensorTrain.from_dense(torch.zeros(1, 4), (4,), rank=0)
    with pytest.raises(ValueError, match="fit"):
        TensorTrain.from_dense(torch.zeros(1, 4), (5,), rank=1)
    with pytest.raises(ValueError, match="grid"):
        TensorTrain.from_dense(torch.zeros(1, 4, 4), tt_modes((4, 5)), rank=1)
    for arguments in ({}, {"rank": 1, "tol": 0.1}, {"rank": 0}, {"tol": -1.0}):
        with pytest.raises(ValueError, match="rank|round"):
            good.round(**arguments)
