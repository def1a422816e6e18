"""What a cohort's scans are like, and the grid, intensities and sampling that follow."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from monai_cpic.data import LazyVolume, open_volume
from monai_cpic.data.statistics import voxel_sample

__all__ = ["Fingerprint"]

logger = logging.getLogger(__name__)

SCANS = 50  # of which intensities are sampled
VOXELS = 2**13  # sampled of each of them
LABELS = 32  # a channel with no more different values, all whole numbers, holds labels
AIR = (-3100.0, -400.0)  # Hounsfield units between which the darkest voxels of a CT lie
EDGE_UNIT = 16  # the grid's edges are multiples of it, which tensorize and average well
LARGEST_STEP = 16
MOST_CELLS = 1024
SMALLEST_CELL = 64  # voxels


@dataclass(frozen=True)
class Fingerprint:
    """What a cohort's scans are like, in the orientation RAS.

    Args:
        scans: number of scans.
        spacing: median distance of voxels along each axis, mm.
        extent: the largest distance between the first and the last voxel of a scan along each axis, mm.
        windows: for each channel the intensities that are mapped to 0 and 1, or None if each scan is normalised by its own mean
            and standard deviation.  Labels are divided by the largest; a CT has a window of its percentiles 0.5 and 99.5.
        nonzero: whether voxels of 0 are background, which normalisation leaves out: where more than a tenth of them is 0.
    """

    scans: int
    spacing: tuple[float, ...]
    extent: tuple[float, ...]
    windows: tuple[tuple[float, float] | None, ...]
    nonzero: bool

    @classmethod
    def of(cls, scans: Sequence[Any], training: Sequence[Any]) -> Fingerprint:
        """Measure scans, and log what they are like.

        Args:
            scans: all scans, as for :func:`~monai_cpic.data.open_volume`; their headers are read.
            training: those of training patients; some of their voxels are read.
        """
        volumes = [open_volume(scan) for scan in scans]
        geometries = np.array([_geometry(volume) for volume in volumes])
        spacing = np.median(geometries[:, 0], 0)
        extent = (geometries[:, 0] * (geometries[:, 1] - 1)).max(0)
        chosen = np.linspace(0, len(training) - 1, min(SCANS, len(training))).round().astype(int)
        some = [open_volume(training[k]) for k in tqdm(chosen, "sampling voxels", leave=False, disable=None)]
        samples = [voxel_sample(volume, VOXELS).double().numpy() for volume in some]
        windows = tuple(_window([sample[channel] for sample in samples]) for channel in range(some[0].shape[0]))
        normalised = [sample[channel] for sample in samples for channel, window in enumerate(windows) if window is None]
        nonzero = bool(normalised) and bool(np.median([(values == 0).mean() for values in normalised]) > 0.1)
        spacing, extent = (tuple(float(f"{length:.6g}") for length in lengths) for lengths in (spacing, extent))
        found = cls(len(volumes), spacing, extent, windows, nonzero)
        logger.info("Fingerprint: %s.", found)
        return found

    def grid(self, spacing: Sequence[float]) -> list[int]:
        """The edges of a grid of this spacing into which every scan fits."""
        voxels = [length / step + 1 for length, step in zip(self.extent, spacing, strict=True)]
        return [EDGE_UNIT * math.ceil((edge - 0.1) / EDGE_UNIT) for edge in voxels]

    def steps(self, spacing: Sequence[float]) -> list[int]:
        """Distances between the voxels that an encoder sees: 1, 4 and 16, as far as four of them fit along each axis."""
        shortest = min(self.extent) / min(spacing)
        return [1, *(step for step in (4, LARGEST_STEP) if 4 * step <= shortest)]

    @staticmethod
    def cells(grid: Sequence[int]) -> int:
        """The number of cells of a grid."""
        return max(1, min(MOST_CELLS, math.prod(grid) // SMALLEST_CELL))

    @property
    def settings(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)

    def __str__(self) -> str:
        named = ["own mean and deviation" if window is None else f"{window[0]:g} … {window[1]:g}" for window in self.windows]
        lengths = " × ".join(f"{length:g}" for length in self.extent)
        return (
            f"{self.scans} scans of {len(self.windows)} channels, up to {lengths} mm, median spacing "
            f"{' × '.join(f'{step:g}' for step in self.spacing)} mm; intensities: {', '.join(named)}"
            + (", without voxels of 0" if self.nonzero else "")
        )


def _geometry(volume: LazyVolume) -> tuple[NDArray[Any], NDArray[Any]]:
    """Spacing and numbers of voxels along the axes closest to right, anterior and superior."""
    affine = volume.affine.numpy()
    axes = nibabel.io_orientation(affine)[:, 0].astype(int)  # for each stored axis the one of RAS
    order = np.argsort(axes)
    return np.linalg.norm(affine[:3, :3], axis=0)[order], np.array(volume.shape[1:])[order]


def _window(samples: Sequence[NDArray[np.float64]]) -> tuple[float, float] | None:
    """The intensities of a channel that are mapped to 0 and 1, from a sample ``[N]`` of each scan."""
    values = np.unique(np.concatenate(samples))
    if len(values) <= LABELS and not (values % 1).any() and values[0] >= 0:
        return 0.0, float(max(values[-1], 1))
    darkest = np.median([np.percentile(sample, 0.5) for sample in samples])
    if AIR[0] <= darkest <= AIR[1]:
        low, high = np.percentile(np.concatenate(samples), [0.5, 99.5]).round()
        return float(low), float(high)
    return None
