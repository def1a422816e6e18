"""The censored squared error against torch's, and what censoring changes."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import mse_loss

from monai_cpic.losses import CensoredMSELoss


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_without_censoring_it_is_the_squared_error(reduction: str) -> None:
    predicted, times = torch.randn(2, 20, 1, dtype=torch.float64)
    predicted.requires_grad_()
    loss = CensoredMSELoss(reduction)(predicted, torch.cat([times, torch.ones_like(times)], 1))
    expected = mse_loss(predicted[:, 0], times[:, 0], reduction=reduction)
    torch.testing.assert_close(loss, expected)
    gradients = [torch.autograd.grad(value.sum(), predicted)[0] for value in (loss, expected)]
    torch.testing.assert_close(*gradients)


def test_longer_than_a_censored_time_costs_nothing() -> None:
    predicted = torch.tensor([[5.0], [1.0]], requires_grad=True)
    loss = CensoredMSELoss("none")(predicted, torch.tensor([[2.0, 0.0], [2.0, 0.0]]))
    assert loss.tolist() == [0.0, 1.0]
    loss.sum().backward()
    assert predicted.grad is not None and predicted.grad.tolist() == [[0.0], [-2.0]]


@pytest.mark.parametrize(
    ("predicted", "target"), [((3,), (3, 2)), ((3, 2), (3, 2)), ((3, 1), (3,)), ((3, 1), (3, 1)), ((3, 1), (4, 2))]
)
def test_nothing_is_broadcast(predicted: tuple[int, ...], target: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"input must be \[N, 1\] and target \[N, 2\]"):
        CensoredMSELoss()(torch.zeros(predicted), torch.zeros(target))
