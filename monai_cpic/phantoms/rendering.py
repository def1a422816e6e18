"""Tools to render simulated scans: a voxel grid, partial volumes and noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import interpolate


@dataclass(frozen=True)
class Grid:
    """Voxel grid of a scan: patient coordinates in mm, x to the left, y to the back, z to the head.

    Args:
        shape: slices, rows, columns.
        spacing: distance of slices, rows and columns in mm.
    """

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]

    @property
    def origin(self) -> tuple[float, float, float]:
        """Centre (z, y, x) of the first voxel; the middle of the grid is at zero."""
        z, y, x = (-(n - 1) / 2 * step for n, step in zip(self.shape, self.spacing, strict=True))
        return z, y, x

    def axes(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Coordinates z [Z, 1, 1], y [1, Y, 1] and x [1, 1, X], float32."""
        z, y, x = (
            (start + step * np.arange(n)).astype(np.float32)
            for start, n, step in zip(self.origin, self.shape, self.spacing, strict=True)
        )
        return z[:, None, None], y[None, :, None], x[None, None, :]


def mix(image: np.ndarray, fraction: np.ndarray, value: np.ndarray | np.floating | float) -> None:
    """Fill a fraction of each voxel of ``image`` with ``value``, in place."""
    image += fraction * (value - image)


def standardise(noise: torch.Tensor) -> torch.Tensor:
    """Noise of zero mean and unit variance."""
    return (noise - noise.mean()) / noise.std()


def smooth_noise(grid: Grid, length: float, rng: np.random.Generator) -> np.ndarray:
    """Noise that varies over ``length`` mm: of unit variance at the nodes of a lattice, and about a third of it between them."""
    coarse = [max(int(n * step / length), 1) + 2 for n, step in zip(grid.shape, grid.spacing, strict=True)]
    values = torch.from_numpy(rng.standard_normal(coarse, dtype=np.float32))
    return interpolate(values[None, None], size=grid.shape, mode="trilinear", align_corners=True)[0, 0].numpy()
