"""Scans that fit stay on the device."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.transforms import Compose, Flipd, MapTransform, Spacingd

from monai_cpic.data import sources
from monai_cpic.transforms import FreezeLazyVolumed, KeepOnDeviced, LoadLazyVolumed

BYTES = 8**3 * (2 + 1.3)  # of a scan with its means


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
        assert isinstance(volume.source, sources.TensorSource) == (number % 2 < fit)
        assert volume.gather(torch.ones(1, 3, dtype=torch.int64), 1).item() == number % 2
    assert (found[0].source is found[2].source) == (fit > 0), "a scan is copied once"
    assert len(caplog.records) == (fit == 1)


@pytest.mark.parametrize("spatial, kept", [(Flipd("image", 0), True), (Spacingd("image", 1.5), False)])
def test_cubic_splines_are_computed_on_the_host(spatial: MapTransform, kept: bool, tmp_path: Path) -> None:
    np.save(tmp_path / "scan.npy", np.random.default_rng(0).random((1, 8, 8, 8)))
    steps = [LoadLazyVolumed("image"), spatial, FreezeLazyVolumed("image", mode=3)]
    there, expected = (
        Compose([*steps, *more], lazy=True)({"image": str(tmp_path / "scan.npy")})["image"]
        for more in ([KeepOnDeviced("image", "cpu", gibibytes=1)], [])
    )
    assert isinstance(there.source, sources.TensorSource) == kept
    centres = torch.tensor([[0, 0, 0], [4, 2, 3]])
    torch.testing.assert_close(there.gather(centres, 3), expected.gather(centres, 3))
