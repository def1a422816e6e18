"""Index sets that outlive a step, a process and a checkpoint."""

from __future__ import annotations

from multiprocessing.context import ForkProcess, SpawnProcess
from pathlib import Path

import pytest
import torch

from monai_cpic.networks import IndexStore
from monai_cpic.tensor_train import CrossIndices, Sweep, qtt_modes
from monai_cpic.tensor_train.indices import initial_indices

MODES = qtt_modes((8, 8))


def step(seed: int = 0) -> tuple[CrossIndices, CrossIndices]:
    """What a pass over a random field leads to."""
    values = torch.randn(8, 8, generator=torch.Generator().manual_seed(seed))
    sweep = Sweep(lambda c: values[c[..., 0], c[..., 1]], MODES)
    _, following = sweep(initial_indices(MODES, 3))
    return following, sweep.repeat


def same(a: CrossIndices | None, b: CrossIndices) -> bool:
    assert a is not None
    tables = zip((*a.sets, *(a.rows or ())), (*b.sets, *(b.rows or ())), strict=True)
    return a.side == b.side and all(torch.equal(x, y) for x, y in tables)


@pytest.mark.parametrize("shared", [False, True])
def test_steps_are_held(tmp_path: Path, shared: bool) -> None:
    store = IndexStore(hold=3, folder=tmp_path / "indices" if shared else None)
    assert store.get("a") is None and store.get(None) is None
    following, repeat = step()
    for left in (2, 1, 0):
        store.put("a", following, repeat)
        assert same(store.get("a"), repeat if left else following)
    store.put(None, following, repeat)
    assert len(store) == 1


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("after", [False, True])
def test_saved_and_restored(tmp_path: Path, before: bool, after: bool) -> None:
    store = IndexStore(2, tmp_path / "before" if before else None)
    for seed, key in enumerate("abc"):
        store.put(key, *step(seed))
    torch.save(store.state_dict(), tmp_path / "state.pt")
    again = IndexStore(2, tmp_path / "after" if after else None)
    again.put("forgotten", *step())
    again.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert len(again) == 3 and again.get("forgotten") is None
    for seed, key in enumerate("abc"):
        assert same(again.get(key), step(seed)[1])


def write(folder: Path) -> None:
    IndexStore(2, folder).put("from elsewhere", *step(5))


@pytest.mark.parametrize("kind", [ForkProcess, SpawnProcess])
def test_processes_share_a_folder(tmp_path: Path, kind: type[ForkProcess | SpawnProcess]) -> None:
    store = IndexStore(2, tmp_path)
    process = kind(target=write, args=(tmp_path,))
    process.start()
    process.join(60)
    assert process.exitcode == 0
    assert same(store.get("from elsewhere"), step(5)[1])


def test_hold_must_be_positive() -> None:
    with pytest.raises(ValueError, match="at least 1, got 0"):
        IndexStore(hold=0)
