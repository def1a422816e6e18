"""What is known of a scan, mostly without reading all of it: modality, geometry, intensities and a coarse picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import nibabel
import numpy as np
import torch
from torch import Tensor

from monai_cpic.data import LazyVolume, Source
from monai_cpic.data.pyramid.averaging import slabs
from monai_cpic.data.pyramid.levels import AVERAGED
from monai_cpic.data.statistics import on_stored_grid

__all__ = ["Quantity", "ScanDescription", "describe"]

POINTS, BLOCKS = 16, 4  # along each axis: voxels that are read, and blocks of the coarse picture
PERCENTILES = (0, 1, 99, 100)

DIRECTIONS = {"LR": "left to right", "AP": "front to back", "IS": "feet to head"}


class Quantity(NamedTuple):
    """A number, and the size that it is small or large against, in the same unit."""

    value: float
    scale: float


@dataclass(frozen=True)
class ScanDescription:
    """A scan as it is stored, before the spatial transforms; ``D`` spatial axes, ``C`` channels.

    Args:
        modality: as DICOM names it, such as ``"CT"`` or ``"MR"``; None if the files do not say.
        orientation: for each stored axis the end of the body to which it points, such as ``"LPS"``.
        spacing: distances of voxels in mm, ``D`` numbers.
        shape: numbers of voxels, ``D`` numbers.
        intensities: lowest value, 1st and 99th percentile, highest value of each channel, ``C`` rows.
        picture: means over 4 blocks along each axis after the intensity steps of the preprocessing, as the network sees the scan,
            float64 ``[C * 4**D]``.
        constant: whether each channel has the same value everywhere.
    """

    modality: str | None
    orientation: str
    spacing: tuple[float, ...]
    shape: tuple[int, ...]
    intensities: tuple[tuple[float, float, float, float], ...]
    picture: Tensor
    constant: bool

    def quantities(self, channels: Sequence[str]) -> dict[str, Quantity]:
        """Spacing, field of view and percentiles, by name.

        Args:
            channels: names of the ``C`` channels.
        """
        found = {}
        for end, step, edge in zip(self.orientation, self.spacing, self.shape, strict=True):
            direction = next(name for ends, name in DIRECTIONS.items() if end in ends)
            found[f"voxel spacing in mm from {direction}"] = Quantity(step, step)
            found[f"field of view in mm from {direction}"] = Quantity(step * edge, step * edge)
        for channel, (_, low, high, _) in zip(channels, self.intensities, strict=True):
            found[f"1st percentile of the intensities of {channel}"] = Quantity(low, high - low)
            found[f"99th percentile of the intensities of {channel}"] = Quantity(high, high - low)
        return found


def describe(volume: LazyVolume) -> ScanDescription:
    """Describe a scan from its header and the voxels of a coarse lattice, 16 along each axis.

    Where these are all alike, the others are read until one differs: a lesion may lie between them.  A volume too large to be
    read whole is then taken for one that has others.

    Args:
        volume: before or after the preprocessing, which changes the coarse picture only.

    Raises:
        ValueError: if a voxel is not finite.

    Example:
        >>> from monai_cpic.data import open_volume
        >>> found = describe(open_volume(torch.arange(64.0).reshape(1, 4, 4, 4)))
        >>> found.orientation, found.spacing, found.intensities[0][-1]
        ('RAS', (1.0, 1.0, 1.0), 63.0)
    """
    seen = on_stored_grid(volume)
    affine, shape = seen.affine.numpy(), seen.shape[1:]
    lattice = torch.cartesian_prod(*(((torch.arange(POINTS) + 0.5) * edge / POINTS).long() for edge in shape))
    stored = _values(replace(seen, intensity=()), lattice)
    intensities = tuple(map(tuple, np.percentile(stored.numpy(), PERCENTILES, axis=1).T.tolist()))
    return ScanDescription(
        volume.modality,
        "".join(nibabel.aff2axcodes(affine)),
        tuple(np.linalg.norm(affine[:-1, :-1], axis=0).tolist()),
        shape,
        intensities,
        _block_means(_values(seen, lattice), len(shape)),
        all(lowest == highest for lowest, *_, highest in intensities) and _constant(volume.source),
    )


def _constant(source: Source) -> bool:
    """Whether each channel has the same value everywhere, as far as the volume can be read whole."""
    axes = len(source.shape) - 1
    if math.prod(source.shape) > AVERAGED:
        return False
    first = source.scaled(source.points([np.zeros(1, np.int64)] * axes)).astype(np.float32).reshape(-1, *[1] * axes)
    parts = slabs(source, [1] * axes, range(axes)[::-1])  # most files store the last axis with the largest distances
    return all(bool((part == first).all()) for part in parts)


def _values(volume: LazyVolume, points: Tensor) -> Tensor:
    """Values of single voxels, float64 ``[C, N]``, on the host."""
    return volume.gather(points, 1).flatten(1).T.cpu().double()


def _block_means(values: Tensor, axes: int) -> Tensor:
    """Means of a lattice ``[C, 16**D]`` over blocks, ``[C * 4**D]``."""
    blocks = values.reshape(len(values), *(BLOCKS, POINTS // BLOCKS) * axes)
    return blocks.mean(dim=tuple(range(2, 2 * axes + 1, 2))).flatten()
