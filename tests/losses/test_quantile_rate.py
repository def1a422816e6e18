"""Quantiles and rates against the two losses of which it is made."""

from __future__ import annotations

import pytest
import torch

from monai_cpic.losses import PinballLoss, QuantileRateLoss

QUANTILES = (0.2, 0.5, 0.8)


def test_sum_of_both_losses() -> None:
    prediction, target = torch.randn(5, 4), torch.randn(5, 2)
    quantiles = PinballLoss(QUANTILES)(prediction[:, :3], target[:, 0])
    rate = torch.nn.functional.smooth_l1_loss(prediction[:, 3], target[:, 1])
    torch.testing.assert_close(QuantileRateLoss(QUANTILES, rate_weight=0.7)(prediction, target), quantiles + 0.7 * rate)


def test_without_weight_the_rate_may_be_unknown() -> None:
    prediction, target = torch.randn(5, 4), torch.tensor([[0.1, torch.nan]]).expand(5, 2)
    expected = PinballLoss(QUANTILES)(prediction[:, :3], target[:, 0])
    torch.testing.assert_close(QuantileRateLoss(QUANTILES, rate_weight=0.0)(prediction, target), expected)


def test_a_network_in_double_precision_learns_from_single_precision_targets() -> None:
    prediction = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    QuantileRateLoss(QUANTILES)(prediction, torch.randn(5, 2)).backward()
    assert prediction.grad is not None and prediction.grad.isfinite().all()


def test_gradients() -> None:
    prediction = torch.randn(6, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(QuantileRateLoss(QUANTILES), (prediction, torch.randn(6, 2, dtype=torch.float64)))


@pytest.mark.parametrize(("input_shape", "target_shape"), [((4, 3), (4, 2)), ((4, 4), (4,)), ((4, 4), (4, 1)), ((4,), (4, 2))])
def test_refuses_other_shapes(input_shape: tuple[int, ...], target_shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="input must"):
        QuantileRateLoss(QUANTILES)(torch.zeros(input_shape), torch.zeros(target_shape))
