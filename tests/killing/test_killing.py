"""Nothing is lost when processes are killed while they write; ``kill.py`` does the same at full size."""

from __future__ import annotations

from pathlib import Path

import pytest
from kill import kill_often
from scenarios import SCENARIOS


@pytest.mark.parametrize("name", SCENARIOS)
def test_nothing_is_lost(name: str, tmp_path: Path) -> None:
    assert kill_often(SCENARIOS[name], tmp_path / "work", kills=12)["aimed"] == 6  # whether one leaves something is chance
