"""A reader of one's own: one file, one entry in the list of readers, one class of tests."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from monai_cpic.data import ArraySource, LazyVolume, readers
from monai_cpic.testing import ReaderTestCase


def open_text(path: str) -> LazyVolume:
    """The shape in the first line, the voxels in the second."""
    shape, voxels = Path(path).read_text().splitlines()
    values = np.array(voxels.split(), np.int64)
    try:
        return LazyVolume(ArraySource(values.reshape(*map(int, shape.split()))), torch.eye(4, dtype=torch.float64), path)
    except ValueError as error:
        raise ValueError(f"{path} is truncated: {error}; fetch it again") from error


TEXT = readers.Reader(".txt", lambda location: location.endswith(".txt"), open_text)


class TestText(ReaderTestCase):
    pickled_bytes = None

    @pytest.fixture(autouse=True)
    def known(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(readers, "READERS", [*readers.READERS, TEXT])

    @pytest.fixture
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(np.int64)

    def write(self, values: NDArray[Any], folder: Path) -> Path:
        path = folder / "scan.txt"
        path.write_text("\n".join([" ".join(map(str, values.shape)), " ".join(map(str, values.flatten()))]))
        return path

    def truncate(self, path: Path) -> Path:
        os.truncate(path, path.stat().st_size - 20)
        return path
