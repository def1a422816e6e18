"""Canonical features against principal components of the dense tensors."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from fields import sampled
from gradients import gradient

from monai_cpic.networks import ConvexSolver, TTProjection
from monai_cpic.tensor_train import TensorTrain, bond_ranks
from monai_cpic.testing import ProjectionTestCase

SIZES = (4, 3, 4)


class TestTTProjection(ProjectionTestCase):
    def projection(self) -> TTProjection:
        return TTProjection(2, self.mode_sizes, self.ranks)


class TestSmallBank(ProjectionTestCase):
    def projection(self) -> TTProjection:
        return TTProjection(3, self.mode_sizes, self.ranks, capacity=7)


def low_rank_trains(count: int, seed: int = 0) -> TensorTrain:
    """Tensors that vary in few directions, of decreasing size."""
    generator = torch.Generator().manual_seed(seed)
    directions = torch.randn(5, *SIZES, dtype=torch.double, generator=torch.Generator().manual_seed(99))
    weights = torch.randn(count, 5, dtype=torch.double, generator=generator) * torch.tensor([16.0, 8.0, 4.0, 2.0, 1.0])
    return TensorTrain.from_dense(torch.einsum("bi,ijkl->bjkl", weights, directions), SIZES, rank=12)


def projection(rank: int = 3, **kwargs: Any) -> TTProjection:
    return TTProjection(rank, SIZES, bond_ranks(SIZES, 12), **kwargs)


def test_tensor_trains_of_other_modes_are_refused() -> None:
    """As those of the random cells with which a curriculum begins."""
    others = TensorTrain([torch.ones(2, 1, 48, 1, dtype=torch.double)])
    with pytest.raises(ValueError, match=r"mode sizes \[48\] do not fit the projection, which is for \[4, 3, 4\].*Curriculum"):
        projection()(sampled(others))


def test_refreshed_features_are_principal_component_scores() -> None:
    trains, module = low_rank_trains(20), projection().eval()
    module.refresh(sampled(trains))
    dense = trains.to_dense().flatten(1)
    centred = dense - dense.mean(0)
    axes = torch.linalg.svd(centred, full_matrices=False)[2][:3]
    torch.testing.assert_close((module(sampled(trains)) * module.scale).abs(), (centred @ axes.T).abs())
    new = low_rank_trains(4, seed=1)
    expected = (new.to_dense().flatten(1) - dense.mean(0)) @ axes.T
    torch.testing.assert_close((module(sampled(new)) * module.scale).abs(), expected.abs())


@pytest.mark.parametrize("batch", [2, 8])  # fewer and more than the features
def test_the_convex_solver_gives_the_same_features_and_gradients(batch: int) -> None:
    pytest.importorskip("cvxpylayers", reason="cvxpylayers is not installed")
    direct, convex = projection(), projection(solver=ConvexSolver(3))
    for step in range(3):
        found = []
        for module in (direct, convex):
            trains = TensorTrain([core.clone().requires_grad_() for core in low_rank_trains(batch, seed=step)])
            features = module(sampled(trains))
            (features * torch.arange(1.0, 4.0)).square().sum().backward()
            found.append([features, *(gradient(core) for core in trains)])
        for exact, solved in zip(*found, strict=True):
            assert (solved - exact).abs().max() <= 1e-3 * exact.abs().max()


def test_training_features_are_centred_and_follow_the_batch_gradient() -> None:
    module = projection()
    trains = low_rank_trains(8)
    cores = [core.clone().requires_grad_() for core in trains]
    features = module(sampled(TensorTrain(cores)))
    assert features.mean(0).abs().max() < 1e-9
    features.square().sum().backward()
    assert all(gradient(core).isfinite().all() for core in cores)
    assert gradient(cores[0]).abs().max() > 0


def test_the_basis_stays_aligned_while_batches_change() -> None:
    module, fixed = projection(), sampled(low_rank_trains(6, seed=7))
    before = torch.zeros(6, 3)
    for seed in range(30):
        module(sampled(low_rank_trains(16, seed)))
        module.eval()
        features = module(fixed)
        if seed > 4:
            cosine = torch.nn.functional.cosine_similarity(features, before, dim=0)
            assert cosine.min() > 0.5, "a feature flipped or turned away"
        before = features
        module.train()


@pytest.mark.parametrize("batch", [1, 2])
def test_batches_smaller_than_the_rank(batch: int) -> None:
    module = projection(rank=5)
    for seed in range(12):
        features = module(sampled(low_rank_trains(batch, seed)))
        assert features.isfinite().all()
    assert features.abs().max() > 0


def test_degenerate_batches_give_finite_features() -> None:
    module = projection()
    zero = TensorTrain([torch.zeros_like(core) for core in low_rank_trains(4)])
    for trains in (zero, low_rank_trains(1)[[0, 0, 0, 0]], low_rank_trains(4)):
        cores = [core.clone().requires_grad_() for core in trains]
        features = module(sampled(TensorTrain(cores)))
        features.sum().backward()
        assert features.isfinite().all() and all(gradient(core).isfinite().all() for core in cores)


def test_trains_without_a_gradient_teach_an_encoder_nothing_and_are_refused() -> None:
    trains, means = low_rank_trains(3), torch.zeros(3, 1, dtype=torch.float64, requires_grad=True)
    with pytest.raises(ValueError, match="gradient=True"):
        projection()(sampled(trains, means))
    assert projection()(sampled(trains)).isfinite().all(), "a frozen encoder has no gradient at all"


def test_limits_are_named() -> None:
    module = projection(capacity=4)
    with pytest.raises(ValueError, match="bank of 4"):
        module(sampled(low_rank_trains(5)))
    with pytest.raises(ValueError, match="2 to 4"):
        module.refresh(sampled(low_rank_trains(1)))
    with pytest.raises(ValueError, match="rank"):
        projection(rank=0)
    with pytest.warns(UserWarning, match="no basis yet"):
        assert module.eval()(sampled(low_rank_trains(2))).abs().max() == 0


def test_a_first_batch_of_one_says_nothing_of_mean_and_scale() -> None:
    module = projection()
    assert not module.train()(sampled(low_rank_trains(1))).any() and module.scale == 0
    module(sampled(low_rank_trains(8, seed=1)))
    mean, scale = module.mean.clone(), module.scale.clone()
    assert module(sampled(low_rank_trains(1, seed=2))).any(), "the mean is that of others"
    assert not torch.equal(module.scale, torch.zeros(())) and module.mean.isfinite().all() and mean.isfinite().all() and scale > 0


def test_two_steps_before_one_gradient() -> None:
    module = projection().train()
    trains = [TensorTrain([core.requires_grad_() for core in low_rank_trains(6, seed=seed)]) for seed in (1, 2)]
    one, other = (module(sampled(train)) for train in trains)
    (one - other).square().sum().backward()
    assert all(core.grad is not None and core.grad.isfinite().all() for train in trains for core in train)
