"""Fixtures shared by all tests."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest
import torch

REPOSITORY = Path(__file__).resolve().parents[1]

torch.set_num_threads(1)  # threads do not live on in a forked process, which would wait for them


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real, openly licensed scans."""
    folder = Path(os.environ.get("MONAI_CPIC_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real scans: {folder} does not exist (set MONAI_CPIC_DATA)")
    return folder


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _no_logging_to_closed_streams() -> None:
    """A bundle's logging.conf sends messages to the output of the test that ran it, which is closed afterwards."""
    for handler in logging.root.handlers[:]:
        if isinstance(handler, logging.StreamHandler) and getattr(handler.stream, "closed", False):
            logging.root.removeHandler(handler)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache folder."""
    monkeypatch.setenv("MONAI_CPIC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
