"""Scans that fit stay on the device."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.transforms import Compose

from monai_cpic.data import sources
from monai_cpic.transforms import FreezeLazyVolumed, KeepOnDeviced, LoadLazyVolumed

BYTES = 8**3 * (2 + 0.3)  # of a scan with its means


@pytest.mark.parametrize("fit", [0, 1, 2])
def test_scans_are_kept_as_long_as_they_fit(fit: int, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    keeping = KeepOnDeviced("image", "cpu", gibibytes=(fit + 0.5 * (fit > 0)) * BYTES / 2**30)
    preprocess = Compose([LoadLazyVolumed("image"), FreezeLazyVolumed("image"), keeping], lazy=True)
    paths = [tmp_path / f"{number}.npy" for number in range(2)]
    for number, path in enumerate(paths):
        np.save(path, np.full((1, 8, 8, 8), number, np.int16))
    with caplog.at_level(logging.INFO):
        found = [preprocess({"image": str(path)})["image"] for path in (*paths, *paths)]
    for number, volume in enumerate(found):
        assert isinstance(volume.source, sources.TensorSource) == (fit > 0), "a scan that does not fit is copied, too"
        assert volume.gather(torch.ones(1, 3, dtype=torch.int64), 1).item() == number % 2
    assert [found[n].source is found[n + 2].source for n in range(2)] == [n < fit for n in range(2)], "what fits is copied once"
    assert [record.message for record in caplog.records] == ["1 scans stay on cpu; the others do not fit and are copied anew"] * (
        fit == 1
    )


def test_a_scan_that_does_not_fit_alone_is_read_where_it_is(tmp_path: Path) -> None:
    np.save(tmp_path / "small.npy", np.zeros((1, 8, 8, 8), np.int16))
    np.save(tmp_path / "large.npy", np.zeros((1, 8, 8, 16), np.int16))
    keeping = KeepOnDeviced("image", "cpu", gibibytes=1.5 * BYTES / 2**30)
    preprocess = Compose([LoadLazyVolumed("image"), FreezeLazyVolumed("image"), keeping], lazy=True)
    kinds = {name: type(preprocess({"image": str(tmp_path / f"{name}.npy")})["image"].source) for name in ("large", "small")}
    assert kinds == {"large": sources.MappedSource, "small": sources.TensorSource}
