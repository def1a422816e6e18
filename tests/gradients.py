"""The gradients that a backward pass must have left."""

from __future__ import annotations

from torch import Tensor


def gradient(tensor: Tensor) -> Tensor:
    """The gradient of a leaf; one that has none fails the test."""
    assert tensor.grad is not None, "no gradient has reached it"
    return tensor.grad
