"""Batches of sampled fields, taken apart and put together."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from monai_cpic.networks import SampledField
from monai_cpic.testing.sampled_fields import random_fields


def fields(count: int) -> SampledField:
    return random_fields(count, mode_sizes=(4, 3), ranks=(1, 2, 1), n_dims=2, scan_sizes=(5,))


def dense(field: SampledField) -> list[torch.Tensor]:
    return [field.trains.to_dense(), field.means, field.maxima, field.scan.to_dense()]


@pytest.mark.parametrize("index", [slice(1, 4), [4, 0, 0], torch.tensor([3]), torch.arange(5) > 2])
def test_an_index_takes_the_same_fields_of_each_part(index: slice | Sequence[int] | torch.Tensor) -> None:
    whole = fields(5)
    for part, every in zip(dense(whole[index]), dense(whole), strict=True):
        assert torch.equal(part, every[index])
    assert len(whole[index]) == len(whole.means[index])


def test_parts_make_the_whole() -> None:
    whole = fields(5)
    again = SampledField.cat([whole[:2], whole[2:3], whole[3:]])
    assert len(again) == 5
    for part, every in zip(dense(again), dense(whole), strict=True):
        assert torch.equal(part, every)
