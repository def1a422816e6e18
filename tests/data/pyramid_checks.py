"""Patches of several steps against averages of the whole volume."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from monai_cpic.data import LazyVolume
from monai_cpic.testing.dense import dense_steps, points_around

STEPS = (1, 2, 4)


def spacing(volume: LazyVolume) -> list[float]:
    return [float(length) for length in volume.affine[:-1, :-1].norm(dim=0)]


def check(volume: LazyVolume, dense: Tensor, steps: tuple[int, ...] = STEPS, tolerance: float = 1e-5) -> None:
    """Patches of a volume against those of a dense one, up to a part of its range."""
    centres = points_around(volume.shape)
    size = (3, 4, 5)[: dense.ndim - 1]
    expected = dense_steps(dense, centres, size, steps, spacing(volume)).float()
    patches = volume.gather(centres, size, steps=steps)
    assert patches.shape == (len(centres), len(steps) * volume.shape[0], *size)
    torch.testing.assert_close(patches, expected, rtol=0, atol=tolerance * float(dense.max() - dense.min()))


def two_channels(folder: Path) -> Path:
    """A scan of two channels in a file."""
    np.save(folder / "scan.npy", np.random.default_rng(0).integers(-1000, 1000, (2, 19, 24, 14), np.int16))
    return folder / "scan.npy"
