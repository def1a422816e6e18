"""The number of threads that torch computes with."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from monai_cpic.tensor_train import cross_approximate, qtt_modes
from monai_cpic.tensor_train.threads import backward_in_one_thread, threads


@pytest.fixture(autouse=True)
def three_threads() -> Iterator[None]:
    with threads(3):
        yield


class Seen(torch.autograd.Function):
    """The identity, which notes the number of threads in the backward pass, or fails there."""

    number = 0
    fails = False

    @staticmethod
    def forward(ctx: object, values: Tensor) -> Tensor:
        return values.view_as(values)

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        Seen.number = torch.get_num_threads()
        if Seen.fails:
            raise RuntimeError("on purpose")
        return gradient


def test_the_number_is_restored_after_a_block_and_after_an_error() -> None:
    with threads(1):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 3
    with pytest.raises(ArithmeticError), threads(1):
        raise ArithmeticError
    assert torch.get_num_threads() == 3


@pytest.mark.parametrize("fails", [False, True])
def test_a_backward_pass_computes_with_one_thread_and_restores_the_number(fails: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Seen, "fails", fails)
    weight = torch.ones(2, requires_grad=True)
    apply: Callable[[Tensor], Tensor] = Seen.apply
    parts = [backward_in_one_thread(apply(weight * factor)) for factor in (1.0, 2.0)]
    if fails:
        with pytest.raises(RuntimeError, match="on purpose"):
            torch.cat(parts).sum().backward()
    else:
        torch.cat(parts).sum().backward()
        assert weight.grad is not None and weight.grad.tolist() == [3.0, 3.0]
    assert Seen.number == 1
    assert torch.get_num_threads() == 3


@pytest.mark.parametrize("fails", [False, True])
def test_a_field_is_evaluated_with_the_threads_of_the_caller(fails: bool) -> None:
    seen = []

    def field(points: Tensor) -> Tensor:
        seen.append(torch.get_num_threads())
        if fails:
            raise RuntimeError("on purpose")
        return points.double().sum(-1)

    if fails:
        with pytest.raises(RuntimeError, match="on purpose"):
            cross_approximate(field, qtt_modes((8, 8)), 2)
    else:
        cross_approximate(field, qtt_modes((8, 8)), 2)
    assert set(seen) == {3}
    assert torch.get_num_threads() == 3


def test_values_on_an_accelerator_are_left_alone() -> None:
    values = torch.ones(2, device="meta", requires_grad=True)  # stands in for one
    assert backward_in_one_thread(values) is values
