"""Normalised means and maxima against torch's batch normalization."""

from __future__ import annotations

import pytest
import torch
from fields import sampled
from torch import Tensor, nn

from monai_cpic.networks import ChannelMaxima, ChannelMeans, NormalisedProjection, SampledField
from monai_cpic.tensor_train import TensorTrain
from monai_cpic.testing import ProjectionTestCase

KINDS = {"means": ChannelMeans, "maxima": ChannelMaxima}


class TestChannelMeans(ProjectionTestCase):
    def projection(self) -> ChannelMeans:
        return ChannelMeans(self.n_dims)


class TestChannelMaxima(ProjectionTestCase):
    def projection(self) -> ChannelMaxima:
        return ChannelMaxima(self.n_dims)


def field(kind: str, values: Tensor) -> SampledField:
    """Means or maxima of three channels; the others are of one channel, and must not matter."""
    trains = TensorTrain([torch.rand(len(values), 1, 4, 1).double()])
    return sampled(trains, means=values) if kind == "means" else sampled(trains, maxima=values)


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_batch_normalization(kind: str) -> None:
    oracle = nn.BatchNorm1d(3, affine=False, eps=1e-12).double()
    projection: NormalisedProjection = KINDS[kind](3)
    for step in range(3):
        values = 5 * torch.rand(6, 3).double() - step
        leaves = [values.clone().requires_grad_() for _ in range(2)]
        oracle.momentum = 0.1 if step else 1.0
        features, expected = projection(field(kind, leaves[0])), oracle(leaves[1])
        torch.testing.assert_close(features, expected)
        direction = torch.rand(6, 3).double()
        (found,) = torch.autograd.grad((features * direction).sum(), leaves[0])
        (right,) = torch.autograd.grad((expected * direction).sum(), leaves[1])
        torch.testing.assert_close(found, right)
        assert oracle.running_mean is not None
        torch.testing.assert_close(projection.mean, oracle.running_mean)
    one = torch.rand(1, 3).double()
    torch.testing.assert_close(projection(field(kind, one)), (one - projection.mean) / projection.variance.sqrt())
    assert projection.steps == 3  # a batch of one leaves no trace


@pytest.mark.parametrize("kind", KINDS)
def test_a_refresh_takes_the_statistics_of_its_fields(kind: str) -> None:
    projection, values = KINDS[kind](3), 5 * torch.rand(9, 3).double()
    projection(field(kind, torch.rand(4, 3).double()))
    projection.refresh(field(kind, values))
    features = projection.eval()(field(kind, values))
    torch.testing.assert_close(features.mean(0), torch.zeros(3).double(), rtol=0, atol=1e-12)
    torch.testing.assert_close(features.var(0, correction=0), torch.ones(3).double())


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_pass_through_the_normalisation(kind: str) -> None:
    values = torch.rand(4, 3).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda leaf: KINDS[kind](3)(field(kind, leaf)), values)


@pytest.mark.parametrize("kind", KINDS)
def test_a_channel_that_does_not_vary_is_not_scaled(kind: str) -> None:
    projection: NormalisedProjection = KINDS[kind](3)
    projection.refresh(field(kind, torch.tensor([[0.0, 1, 2], [1, 1, 2 + 1e-6]]).double()))
    found = projection.eval()(field(kind, torch.tensor([[0.5, 0.9, 2.5]]).double()))
    torch.testing.assert_close(found, torch.tensor([[0.0, -0.1, 0.5]]).double(), atol=1e-5, rtol=0)
