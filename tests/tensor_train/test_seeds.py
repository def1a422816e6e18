"""Index sets that start from seeds: nested, the first seeds first, the rest random."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from monai_cpic.tensor_train import Mode, coordinates, cross_approximate, initial_indices, multi_indices, qtt_modes, tt_modes
from monai_cpic.tensor_train.indices import check_nested

SHAPE, CHANNELS = (8, 6, 4), 3
MODES = {
    "tt": tt_modes(SHAPE, CHANNELS),
    "axis": qtt_modes(SHAPE, CHANNELS),
    "interleaved": qtt_modes(SHAPE, CHANNELS, order="interleaved"),
    "fused": qtt_modes(SHAPE, CHANNELS, order="fused"),
}


def points(batch: int, count: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.stack([torch.randint(n, (batch, count), generator=generator) for n in (*SHAPE, CHANNELS)], -1)


def tails(modes: list[Mode], seeds: Tensor, bond: int) -> Tensor:
    """What modes after a bond contribute to points."""
    indices = multi_indices(modes, seeds)
    return coordinates(modes[bond + 1 :], indices[..., bond + 1 :]) if bond + 1 < len(modes) else torch.zeros_like(seeds)


def contains(table: Tensor, wanted: Tensor) -> Tensor:
    """Which of the wanted ``[B, S, D + 1]`` a table ``[B, r, D + 1]`` has."""
    return (wanted[:, :, None] == table[:, None]).all(-1).any(-1)


@pytest.mark.parametrize("kind", MODES)
@settings(max_examples=20, deadline=None)
@given(rank=st.integers(1, 7), count=st.integers(1, 9), seed=st.integers(0, 99))
def test_the_first_seeds_enter_whole_and_the_sets_are_nested(kind: str, rank: int, count: int, seed: int) -> None:
    modes, seeds = MODES[kind], points(3, count, seed)
    indices = initial_indices(modes, rank, seeds=seeds)
    check_nested(modes, indices)
    assert indices.batch_size == 3
    for k, table in enumerate(indices.sets):
        assert all(len(own.unique(dim=0)) == len(own) for own in table), "a partial coordinate twice"
        held = contains(table, tails(modes, seeds, k))
        fitting = min(other.shape[1] for other in indices.sets[:-1])
        assert bool(held[:, : min(count, fitting)].all()), f"seed left out at bond {k}"


@pytest.mark.parametrize("kind", MODES)
def test_a_seed_stays_out_once_it_has_been_left_out(kind: str) -> None:
    modes, seeds = MODES[kind], points(4, 9)
    indices = initial_indices(modes, 3, seeds=seeds)
    held = torch.stack([contains(table, tails(modes, seeds, k)) for k, table in enumerate(indices.sets)])  # [D', B, S]
    assert bool((held[:-1] <= held[1:]).all())


def test_batched_equals_per_item() -> None:
    modes, seeds = MODES["axis"], points(5, 4)
    together = initial_indices(modes, 6, seeds=seeds)
    for b in range(5):
        alone = initial_indices(modes, 6, seeds=seeds[b : b + 1])
        assert all(torch.equal(table[b : b + 1], own) for table, own in zip(together.sets, alone.sets, strict=True))


def test_without_seeds_the_sets_are_random_and_the_same_for_all() -> None:
    modes = MODES["axis"]
    none = initial_indices(modes, 5, seeds=torch.empty(2, 0, 4, dtype=torch.int64))
    random = initial_indices(modes, 5, batch_size=2)
    assert all(torch.equal(a, b) for a, b in zip(none.sets, random.sets, strict=True))


def test_a_sweep_from_a_seed_asks_for_it() -> None:
    modes, seeds = qtt_modes((64, 64)), torch.tensor([[[41, 17, 0]]])
    asked: list[Tensor] = []

    def field(where: Tensor) -> Tensor:
        asked.append(where[0])
        distance = (where[..., :2] - seeds[0, 0, :2]).double().norm(dim=-1)
        return (-distance / 8).exp()

    cross_approximate(field, modes, 2, passes=1, completion=0, indices=initial_indices(modes, 2, seeds=seeds))
    columns = torch.cat(asked)
    assert bool((columns[:, 1] == 17).any())


@pytest.mark.parametrize(
    "seeds", [torch.zeros(2, 4, dtype=torch.int64), torch.tensor([[[8, 0, 0, 0]]]), torch.tensor([[[0, 0, 0]]])]
)
def test_seeds_that_are_no_points_of_the_grid_are_refused(seeds: Tensor) -> None:
    with pytest.raises(ValueError, match="seeds must be|lie in the grid"):
        initial_indices(MODES["axis"], 4, seeds=seeds)
