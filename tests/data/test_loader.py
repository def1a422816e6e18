"""Batches that are read one ahead are those of MONAI's loader."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch
from monai.data import DataLoader
from torch.utils.data import Dataset

from monai_cpic.data import OneAheadLoader


class Items(Dataset[Any]):
    """Numbers, of which one may be broken; which were asked for is known."""

    def __init__(self, number: int, broken: int = -1) -> None:
        self.number, self.broken = number, broken
        self.asked = [threading.Event() for _ in range(number)]

    def __len__(self) -> int:
        return self.number

    def __getitem__(self, index: int) -> int:
        self.asked[index].set()
        if index == self.broken:
            raise ValueError(f"item {index} is broken")
        return index


@pytest.mark.parametrize(
    "options", [{}, {"batch_size": 3}, {"batch_size": 3, "drop_last": True}, {"batch_size": 2, "shuffle": True}]
)
@pytest.mark.parametrize("number", [1, 7])
def test_batches_are_those_of_monai(number: int, options: dict[str, Any]) -> None:
    found = []
    for kind in (DataLoader, OneAheadLoader):
        torch.manual_seed(0)
        loader = kind(Items(number), **options)
        found.append([[batch.tolist() for batch in loader] for _ in range(2)])
        assert len(loader) == len(found[-1][0])
        found[-1].append([[torch.rand(1).item()]])  # as many random numbers have been drawn
    assert found[0] == found[1]


def test_no_items_give_no_batch() -> None:
    assert list(OneAheadLoader(Items(0), batch_size=1)) == []


def test_one_batch_is_read_while_another_is_used_and_no_more() -> None:
    items = Items(4)
    batches = iter(OneAheadLoader(items, batch_size=1))
    assert not any(asked.is_set() for asked in items.asked)
    for expected in range(4):
        assert next(batches).item() == expected
        assert all(asked.wait(60) for asked in items.asked[: expected + 2])
        assert not any(asked.is_set() for asked in items.asked[expected + 2 :])


def test_nothing_is_read_ahead_if_not_asked() -> None:
    items = Items(4)
    assert next(iter(OneAheadLoader(items, ahead=False, batch_size=1))).item() == 0
    assert [asked.is_set() for asked in items.asked] == [True, False, False, False]


def test_an_error_is_raised_where_its_batch_is_asked_for() -> None:
    found = []
    with pytest.raises(ValueError, match="item 2 is broken"):
        for batch in OneAheadLoader(Items(4, broken=2), batch_size=1):
            found.append(batch.item())
    assert found == [0, 1]


def test_an_epoch_may_end_early() -> None:
    loader = OneAheadLoader(Items(5), batch_size=1)
    for batch in loader:
        if batch.item() == 1:
            break
    assert [batch.item() for batch in loader] == [0, 1, 2, 3, 4]


def test_processes_cannot_read_ahead_as_well() -> None:
    with pytest.raises(ValueError, match="num_workers=2.*set it to 0"):
        OneAheadLoader(Items(2), num_workers=2)
    OneAheadLoader(Items(2), ahead=False, num_workers=2)
