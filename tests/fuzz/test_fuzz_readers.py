"""A few dozen damaged scans of each format; see ``fuzz_readers.py`` for many."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from fuzz_readers import FAILURES, fuzz, judged
from mutations import mutated
from scan_formats import FORMATS

from monai_cpic.data import LazyVolume, readers
from monai_cpic.data.sources import ArraySource

MUTANTS = 30


@pytest.mark.parametrize("name", FORMATS)
def test_intact_scans_are_read_as_by_another_program(tmp_path: Path, name: str) -> None:
    for number in range(6):
        (tmp_path / str(number)).mkdir()
        path = FORMATS[name].write(tmp_path / str(number), number)
        assert judged(name, path, tmp_path / "cache", path) == ("equal", "")


def test_damaged_scans_are_refused_by_name_or_read_as_by_another_program() -> None:
    outcomes = list(fuzz(list(FORMATS), MUTANTS, hang=60))
    assert Counter(outcome.format for outcome in outcomes) == dict.fromkeys(FORMATS, MUTANTS)
    assert not [outcome for outcome in outcomes if outcome.kind in FAILURES]
    kinds = Counter(outcome.kind for outcome in outcomes)
    assert kinds["refused"] > MUTANTS and kinds["equal"] > MUTANTS


def test_a_sequence_without_an_end_is_refused_before_gdcm_divides_by_zero() -> None:
    assert [outcome.kind for outcome in fuzz(["dicom"], 1, first=6938, hang=60)] == ["refused"]


def test_what_a_bad_reader_does_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = FORMATS["npy"].write(tmp_path, 0)

    def wrong(location: str, cache_dir: Path) -> LazyVolume:
        return LazyVolume(ArraySource(np.zeros((1, 7, 6, 5))), torch.eye(4, dtype=torch.float64), location)

    def unnamed(location: str, cache_dir: Path) -> LazyVolume:
        raise ValueError("something is wrong")

    for opened in (wrong, unnamed):
        monkeypatch.setattr(readers, "READERS", [readers.Reader("any", lambda location: True, opened)])
        assert judged("npy", path, tmp_path, path)[0] == opened.__name__


def test_the_damage_depends_on_the_seed_alone() -> None:
    content = bytes(range(256)) * 8
    first, again, other = (mutated(content, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first == again != other
