"""The memory of vectors against computing all of them."""

from __future__ import annotations

import copy
import pickle

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from monai_cpic.networks.encoders.vector_memory import VectorMemory

CALLS = st.lists(st.tuples(st.sampled_from([b"a", b"b"]), st.lists(st.integers(0, 9), min_size=1, max_size=12)), max_size=8)
ROW = 2 * 8 + 3 * 4  # bytes: key, slot and three numbers


def vectors(scan: bytes, voxels: Tensor) -> Tensor:
    return torch.stack([voxels, voxels**2, torch.full_like(voxels, scan[0])], 1).float()


@settings(deadline=None)
@given(calls=CALLS, rows=st.integers(0, 20))
def test_vectors_are_those_that_are_computed_and_the_limit_holds(calls: list[tuple[bytes, list[int]]], rows: int) -> None:
    memory, kept, found, computed = VectorMemory(rows * ROW / 2**20), set[tuple[bytes, int]](), 0, 0
    for scan, voxels in calls:
        asked, computed_now = torch.tensor(voxels), list[int]()

        def compute(new: Tensor, scan: bytes = scan, now: list[int] = computed_now) -> Tensor:
            now += new.tolist()
            return vectors(scan, new)

        assert torch.equal(memory.look_up(scan, asked, compute), vectors(scan, asked))
        assert sorted(computed_now) == [voxel for voxel in sorted(set(voxels)) if (scan, voxel) not in kept]
        new = {(scan, voxel) for voxel in voxels} - kept
        found, computed = found + len(set(voxels)) - len(new), computed + len(new)
        if len(kept) + len(new) <= rows:
            kept |= new
        assert memory.bytes == ROW * len(kept) <= rows * ROW
    assert (memory.found, memory.computed) == (found, computed)


def test_a_change_of_the_weights_empties_it() -> None:
    memory, layer, voxels = VectorMemory(1.0), torch.nn.Linear(2, 2), torch.arange(4)

    def found() -> int:
        memory.belong_to(layer)
        before = memory.found
        memory.look_up(b"a", voxels, lambda new: new[:, None].float())
        return memory.found - before

    assert [found(), found()] == [0, 4]
    layer.load_state_dict(torch.nn.Linear(2, 2).state_dict())
    assert [found(), found()] == [0, 4]
    layer.double()
    assert [found(), found()] == [0, 4]
    layer.load_state_dict(torch.nn.Linear(2, 2).double().state_dict(), assign=True)
    assert [found(), found()] == [0, 4]


def test_a_copy_is_empty_and_has_the_limit() -> None:
    memory = VectorMemory(2.5)
    memory.look_up(b"a", torch.arange(4), lambda new: new[:, None].float())
    for other in (copy.deepcopy(memory), pickle.loads(pickle.dumps(memory))):
        assert other.mebibytes == 2.5 and memory.bytes > 0 and other.bytes == other.found == other.computed == 0
