"""Completion by ALS against dense tensors, TT-SVD and finite differences."""

from __future__ import annotations

import pytest
import torch
from gradients import gradient
from torch import Tensor

from monai_cpic.tensor_train import TensorTrain, als, als_completion, bond_ranks, degrees_of_freedom

SIZES = (2, 3, 2, 4, 2)


def random_train(batch: int, rank: int, sizes: tuple[int, ...] = SIZES) -> TensorTrain:
    ranks = bond_ranks(sizes, rank)
    return TensorTrain(
        [torch.randn(batch, a, n, b, dtype=torch.double) for a, n, b in zip(ranks[:-1], sizes, ranks[1:], strict=True)]
    )


def all_multi_indices(sizes: tuple[int, ...]) -> Tensor:
    return torch.cartesian_prod(*(torch.arange(n) for n in sizes))


def test_degrees_of_freedom_of_a_matrix_are_those_of_its_rank() -> None:
    assert degrees_of_freedom((1, 3, 1), (7, 5)) == 3 * (7 + 5 - 3)


@pytest.mark.parametrize("sweeps", [1, 2, 3, 12])
def test_a_tensor_train_of_the_rank_is_found_from_scattered_values(sweeps: int) -> None:
    truth = random_train(3, 2, (2,) * 10)
    digits = torch.randint(2, (600, 10))
    start = TensorTrain([core + 0.02 * torch.randn_like(core) for core in truth])
    before, after = (
        (train.to_dense() - truth.to_dense()).flatten(1).norm(dim=1) / truth.norm()
        for train in (start, als_completion(start, digits, truth.evaluate(digits), sweeps))
    )
    assert (after < 0.7**sweeps * before).all()
    exact = als_completion(truth, digits, truth.evaluate(digits), sweeps)
    torch.testing.assert_close(exact.to_dense(), truth.to_dense())


def test_from_all_entries_it_comes_to_the_best_approximation() -> None:
    x = torch.randn(4, *SIZES, dtype=torch.double)
    best = TensorTrain.from_dense(x, SIZES, 3)
    start = TensorTrain([core + 0.1 * torch.randn_like(core) for core in best])
    found = als_completion(start, all_multi_indices(SIZES), x.flatten(1), sweeps=12)
    error, optimum = ((train.to_dense() - x).flatten(1).norm(dim=1) for train in (found, best))
    assert (error < 1.01 * optimum).all()  # TT-SVD is nearly optimal, so it may even be better


@pytest.mark.parametrize("sweeps", [1, 2])
def test_gradients(sweeps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(als, "STEPS", 40)  # the derivative is that of the exact solution
    digits = torch.randint(2, (30, 4))
    values = torch.randn(2, 30, dtype=torch.double, requires_grad=True)
    start = random_train(2, 2, (2,) * 4)
    cores = [core.requires_grad_() for core in start]
    assert torch.autograd.gradcheck(
        lambda v, *c: als_completion(TensorTrain(c), digits, v, sweeps, ridge=1e-12).to_dense(),
        (values, *cores),
        fast_mode=True,  # along random directions
    )


def test_a_field_that_is_met_has_the_gradient_of_its_neighbours() -> None:
    truth, digits = random_train(1, 2, (2,) * 8), torch.randint(2, (400, 8))
    towards = random_train(1, 2, (2,) * 8)
    values = truth.evaluate(digits).requires_grad_()
    (als_completion(truth, digits, values, 6).inner(towards).sum() / towards.norm().sum()).backward()
    other = TensorTrain([core + 1e-6 * torch.randn_like(core) for core in truth])  # of rank 2 as well
    change = (other.evaluate(digits) - values).detach()
    expected = (other.inner(towards) - truth.inner(towards)).sum() / towards.norm().sum()
    torch.testing.assert_close((gradient(values) * change).sum(), expected, rtol=0.1, atol=0)


@pytest.mark.parametrize("scale", [0.0, 1e-12, 1e12])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_degenerate_trains_and_values(scale: float, dtype: torch.dtype) -> None:
    start = TensorTrain([(scale**0.2 * torch.ones_like(core)).to(dtype) for core in random_train(2, 3)])
    digits = all_multi_indices(SIZES)[:20]  # some digits never occur
    values = torch.zeros(2, 20, dtype=dtype, requires_grad=True)
    found = als_completion(start, digits, values)
    found.to_dense().sum().backward()
    assert found.to_dense().isfinite().all() and values.grad is not None and values.grad.isfinite().all()


def test_batched_equals_per_item() -> None:
    start, digits = random_train(3, 3), torch.randint(2, (80, 5))
    values = torch.randn(3, 80, dtype=torch.double)
    together = als_completion(start, digits, values).to_dense()
    for b in range(3):
        torch.testing.assert_close(together[b : b + 1], als_completion(start[[b]], digits, values[b : b + 1]).to_dense())


def test_shapes_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match=r"needs digits \[P, 5\]"):
        als_completion(random_train(1, 2), torch.zeros(7, 4, dtype=torch.int64), torch.zeros(1, 7))
    with pytest.raises(ValueError, match=r"values \[1, P\]"):
        als_completion(random_train(1, 2), torch.zeros(7, 5, dtype=torch.int64), torch.zeros(2, 7))
    with pytest.raises(ValueError, match="at least one row"):
        als_completion(random_train(1, 2), torch.zeros(0, 5, dtype=torch.int64), torch.zeros(1, 0))
    with pytest.raises(ValueError, match="of a mode of size 2"):
        als_completion(random_train(1, 2), torch.full((7, 5), 3), torch.zeros(1, 7))


@pytest.mark.parametrize("core", [0, 2, 4])
@pytest.mark.parametrize(("dtype", "scale"), [(torch.float32, 1e30), (torch.float32, 1e-30), (torch.float64, 1e200)])
def test_any_core_may_carry_any_scale(core: int, dtype: torch.dtype, scale: float) -> None:
    start, digits = random_train(2, 3), all_multi_indices(SIZES)
    values = torch.randn(2, len(digits), dtype=torch.double)
    expected = als_completion(start, digits, values).to_dense()
    cores = [c.to(dtype) * (scale if k == core else 1) for k, c in enumerate(start)]
    found = als_completion(TensorTrain(cores), digits, values.to(dtype) * scale)
    torch.testing.assert_close(found.to_dense().double() / scale, expected, rtol=0, atol=1e-3 if dtype == torch.float32 else 1e-9)
