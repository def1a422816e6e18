"""Kernel alignment against its definition by matrices, its limits and finite differences."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from monai_cpic.data import open_volume
from monai_cpic.losses import AlignedLoss, kernel_alignment
from monai_cpic.networks import CPICNet


def test_definition() -> None:
    features, target = torch.randn(6, 3, dtype=torch.double), torch.randn(6, 2, dtype=torch.double)
    centre = torch.eye(6, dtype=torch.double) - 1 / 6
    a, b = centre @ features @ features.mT @ centre, centre @ target @ target.mT @ centre
    expected = (a @ b).trace() / ((a @ a).trace() * (b @ b).trace()).sqrt()
    torch.testing.assert_close(kernel_alignment(features @ features.mT, target), expected)


def test_limits() -> None:
    target = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.double)
    same = torch.outer(5 - 2 * target, 5 - 2 * target)
    torch.testing.assert_close(kernel_alignment(same, target), torch.ones((), dtype=torch.double))
    other = torch.tensor([1.0, 1.0, -1.0, -1.0], dtype=torch.double)
    assert kernel_alignment(torch.outer(other, other), torch.tensor([1.0, -1.0, 1.0, -1.0])).abs() < 1e-12


def test_gradients() -> None:
    features = torch.randn(5, 3, dtype=torch.double, requires_grad=True)
    target = torch.randn(5, dtype=torch.double)
    assert torch.autograd.gradcheck(lambda f: kernel_alignment(f @ f.mT, target), features)


@pytest.mark.parametrize("target", [torch.zeros(4), torch.arange(4.0)])
def test_samples_that_are_all_the_same(target: torch.Tensor) -> None:
    gram = torch.ones(4, 4, requires_grad=True)
    alignment = kernel_alignment(gram, target)
    alignment.backward()
    assert alignment == 0
    assert gram.grad is not None
    assert gram.grad.isfinite().all()


def test_shapes_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match=r"\(3, 3\) and \(4,\)"):
        kernel_alignment(torch.eye(3), torch.zeros(4))


def test_training_only_and_rows_of_one_volume() -> None:
    network = CPICNet((8, 8), n_dims=2, rank=2)
    loss = AlignedLoss(nn.MSELoss(), network.gram, weight=2.0)
    volumes = [torch.rand(1, 8, 8) for _ in range(3)]
    rows = [volume for volume in map(open_volume, volumes) for _ in range(2)]
    target = torch.randn(6, 1)
    prediction = network(rows)
    gram = network.gram()
    assert gram is not None
    assert torch.equal(gram[0], gram[1])  # of one volume
    expected = nn.functional.mse_loss(prediction, target) + 2 * (1 - kernel_alignment(gram, target))
    torch.testing.assert_close(loss(prediction, target), expected.float())
    loss(prediction, target).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.encoder.parameters())
    network.eval()
    prediction = network(rows)
    assert loss(prediction, target) == nn.functional.mse_loss(prediction, target)
