"""The pinball loss against numpy's quantiles, its definition and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from monai_cpic.losses import PinballLoss

QUANTILES = (0.2, 0.5, 0.8)


def test_minimiser_over_constants_is_the_empirical_quantile() -> None:
    samples = torch.from_numpy(np.random.default_rng(0).gamma(3.0, 500.0, size=501))
    loss = PinballLoss(QUANTILES, reduction="none")
    # The loss is piecewise linear with its kinks at the samples, so its minimum lies on one of them.
    totals = torch.stack([loss(c.expand(501, 3), samples).sum(0) for c in samples])  # [candidate, quantile]
    best = samples[totals.argmin(0)]
    np.testing.assert_allclose(best, np.quantile(samples.numpy(), QUANTILES))


def test_median_is_half_the_absolute_error() -> None:
    prediction, target = torch.randn(4, 5, 1), torch.randn(4, 5)
    expected = 0.5 * torch.nn.L1Loss()(prediction.squeeze(-1), target)
    torch.testing.assert_close(PinballLoss((0.5,))(prediction, target), expected)


def test_reductions() -> None:
    prediction, target = torch.randn(4, 5, 3), torch.randn(4, 5)
    rows = PinballLoss(QUANTILES, reduction="none")(prediction, target)
    assert rows.shape == (4, 5, 3)
    torch.testing.assert_close(PinballLoss(QUANTILES, reduction="sum")(prediction, target), rows.sum())
    torch.testing.assert_close(PinballLoss(QUANTILES)(prediction, target), rows.mean())


def test_gradients() -> None:
    prediction = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    target = torch.randn(6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(PinballLoss(QUANTILES), (prediction, target))


@pytest.mark.parametrize("quantiles", [(), (0.0, 0.5), (0.5, 1.0), (0.8, 0.5, 0.2), (0.5, 0.5), (float("nan"),)])
def test_refuses_impossible_quantiles(quantiles: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="quantiles must increase"):
        PinballLoss(quantiles)


def test_refuses_unknown_reduction() -> None:
    with pytest.raises(ValueError, match="median"):
        PinballLoss(reduction="median")


@pytest.mark.parametrize(
    ("input_shape", "target_shape"), [((4, 2), (4,)), ((4, 3), (4, 1)), ((4, 3), (5,)), ((3,), (1,)), ((), ())]
)
def test_refuses_shapes_that_would_broadcast(input_shape: tuple[int, ...], target_shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="input must have the shape of target"):
        PinballLoss(QUANTILES)(torch.zeros(input_shape), torch.zeros(target_shape))
