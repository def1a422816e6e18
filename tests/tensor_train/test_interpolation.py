"""Interpolation: iterated ridge regression against its definition."""

from __future__ import annotations

import pytest
import torch

from monai_cpic.tensor_train import interpolate


def test_against_the_normal_equations() -> None:
    p, v = torch.randn(3, 7, 4, dtype=torch.double), torch.randn(3, 7, 5, dtype=torch.double)
    damping = (0.1 * p.abs().amax((1, 2)))[:, None, None]
    normal = p.mT @ p + damping**2 * torch.eye(4, dtype=torch.double)
    first = torch.linalg.solve(normal, p.mT @ v)
    torch.testing.assert_close(interpolate(p, v, 0.1), first + torch.linalg.solve(normal, p.mT @ (v - p @ first)))
    assert torch.autograd.gradcheck(lambda a, b: interpolate(a, b, 0.1), (p.requires_grad_(), v.requires_grad_()))


def test_exact_where_the_singular_values_are_above_the_ridge() -> None:
    p, x = torch.randn(2, 9, 5, dtype=torch.double), torch.randn(2, 5, 3, dtype=torch.double)
    torch.testing.assert_close(interpolate(p, p @ x, 1e-4), x, rtol=0, atol=1e-10)


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_the_solution_is_bounded_whatever_the_pivots(scale: float) -> None:
    u, w = torch.linalg.qr(torch.randn(8, 4, dtype=torch.double))[0], torch.linalg.qr(torch.randn(4, 4, dtype=torch.double))[0]
    for exponent in range(20):
        p = scale * (u * torch.logspace(0, -exponent, 4, dtype=torch.double)) @ w
        v = torch.randn(8, 6, dtype=torch.double)
        bound = 0.8 * v.norm() / (1e-4 * p.abs().max())
        assert interpolate(p[None], v[None], 1e-4).norm() <= bound
    assert interpolate(torch.zeros(1, 8, 4), torch.ones(1, 8, 3), 1e-4).abs().max() == 0
