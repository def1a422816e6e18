"""Channel means against dense means and torch's batch normalization."""

from __future__ import annotations

import torch
from torch import nn

from monai_cpic.networks import ChannelMeans
from monai_cpic.tensor_train import TensorTrain


def test_channel_means_are_batch_normalised_means() -> None:
    oracle = nn.BatchNorm1d(3, affine=False, eps=1e-12).double()
    means = ChannelMeans(3)
    for step in range(3):
        trains = TensorTrain([torch.rand(6, *core, dtype=torch.float64) for core in ((1, 4, 2), (2, 5, 2), (2, 3, 1))])
        dense = trains.to_dense().mean((1, 2))
        oracle.momentum = 0.1 if step else 1.0
        torch.testing.assert_close(means(trains), oracle(dense))
        torch.testing.assert_close(means.mean, oracle.running_mean)
    means.refresh(trains)
    features = means.eval()(trains)
    torch.testing.assert_close(features.mean(0), torch.zeros(3).double(), rtol=0, atol=1e-12)
    torch.testing.assert_close(features.var(0, correction=0), torch.ones(3).double())


def test_gradients_of_channel_means() -> None:
    def function(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        return ChannelMeans(3)(TensorTrain([first, second]))

    cores = [torch.rand(4, 1, 5, 2).double().requires_grad_(), torch.rand(4, 2, 3, 1).double().requires_grad_()]
    assert torch.autograd.gradcheck(function, cores)
