"""The memory of a field against the field itself."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from monai_cpic.tensor_train import Memory, qtt_modes
from monai_cpic.tensor_train.field import memoized


@given(st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=12), min_size=1, max_size=6))
def test_every_key_is_computed_once(calls: list[list[int]]) -> None:
    memory, asked = Memory(), []

    def compute(keys: Tensor) -> Tensor:
        asked.extend(keys.tolist())
        return torch.stack([keys.double(), keys.double() ** 2], 1)

    for call in calls:
        keys = torch.tensor(call)
        torch.testing.assert_close(memory.look_up(keys, compute), torch.stack([keys, keys**2], 1).double())
    assert sorted(asked) == sorted({key for call in calls for key in call})
    assert memory.keys.tolist() == sorted(asked)


def test_rows_keep_their_graph() -> None:
    memory, weight = Memory(), torch.tensor(2.0, requires_grad=True)
    for _ in range(2):
        rows = memory.look_up(torch.tensor([1, 2, 1]), lambda keys: weight * keys)
    rows.sum().backward()
    assert weight.grad == 4


@given(st.integers(0, 2**31))
def test_a_memoized_field_has_the_values_of_the_field(seed: int) -> None:
    modes, asked = qtt_modes((4, 6), channels=2), []
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(3, 4, 6, 2, dtype=torch.double, generator=generator)

    def field(coordinates: Tensor) -> Tensor:
        asked.append(coordinates.shape[1])
        return values[(torch.arange(3)[:, None], *coordinates.unbind(-1))]

    remembered = memoized(field, modes)
    for _ in range(4):
        coordinates = torch.stack([torch.randint(n, (3, 7), generator=generator) for n in (4, 6, 2)], -1)
        assert torch.equal(remembered(coordinates), values[(torch.arange(3)[:, None], *coordinates.unbind(-1))])
    count = len(asked)
    remembered(coordinates)
    assert len(asked) == count
