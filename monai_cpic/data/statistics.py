"""Statistics of a whole scan, estimated from a sample of its voxels and kept in the cache folder."""

from __future__ import annotations

import json
import math
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from monai_cpic.data.cache.unpacked import cached
from monai_cpic.data.gather.sampling import Sampling
from monai_cpic.data.volume import LazyVolume

__all__ = ["estimated", "on_stored_grid", "voxel_sample"]


def on_stored_grid(volume: LazyVolume) -> LazyVolume:
    """The scan on the grid on which it is stored, whatever grid the handle sees it on, with the handle's intensity steps."""
    if volume.sampling is None:
        return volume
    matrix, padding = np.linalg.inv(volume.sampling.matrix), volume.sampling.padding_mode
    return volume.sampled(Sampling(matrix, volume.source.shape[1:], "nearest", padding))


def voxel_sample(volume: LazyVolume, count: int, seed: int = 0) -> Tensor:
    """Draw voxels of the stored scan, on whatever grid the handle sees it, after the handle's intensity steps.

    Args:
        volume: the scan.
        count: number of voxels to draw, with replacement; a scan that has no more voxels gives all of them.
        seed: of the random choice.

    Returns:
        values, float32 ``[C, n]``, on the host.
    """
    volume = on_stored_grid(volume)
    shape = volume.shape[1:]
    total = math.prod(shape)
    if total <= count:
        chosen = torch.arange(total, device="cpu")
    else:
        generator = torch.Generator().manual_seed(seed)
        chosen = torch.randint(total, (count,), generator=generator, device="cpu").sort().values  # read in order
    return volume.gather(torch.stack(torch.unravel_index(chosen, shape), 1), 1).flatten(1).T.cpu()


def estimated(
    volume: LazyVolume,
    name: str,
    statistic: Callable[[Tensor], Sequence[Sequence[float]]],
    count: int,
    seed: int = 0,
    cache_dir: str | Path | None = None,
) -> list[list[float]]:
    """Compute a statistic of :func:`voxel_sample`, once for each scan that has a key; later calls read it from the cache folder.

    What is cached belongs to the scan's files, the intensity steps so far, the sample and the name of the statistic.  It does not
    depend on the grid on which the scan is seen, so random spatial transforms do not change it.

    Args:
        volume: the scan.
        name: of the statistic, with its parameters.
        statistic: computes rows of numbers from the sample.
        count: see :func:`voxel_sample`.
        seed: see :func:`voxel_sample`.
        cache_dir: see :func:`~monai_cpic.data.cache.unpacked.cached`.
    """

    def compute() -> list[list[float]]:
        return [[float(number) for number in row] for row in statistic(voxel_sample(volume, count, seed))]

    def write(folder: Path) -> None:
        (folder / "statistic.json").write_text(json.dumps(compute()))

    scans = _with_masks(volume)
    if any(scan.key is None for scan in scans):
        return compute()
    files = [file for scan in scans for file in scan.source.files()]
    folder = cached(files, cache_dir, write, repr((name, count, seed, _identity(volume))))
    try:
        return [[float(number) for number in row] for row in json.loads((folder / "statistic.json").read_text())]
    except (FileNotFoundError, TypeError, ValueError) as error:
        raise ValueError(f"{folder} does not hold the statistics of {volume.key} ({error}): remove this folder") from error


def _with_masks(volume: LazyVolume) -> list[LazyVolume]:
    """The scan and its masks."""
    return [volume, *(each for step in volume.intensity if isinstance(step, LazyVolume) for each in _with_masks(step))]


def _identity(volume: LazyVolume, onto: NDArray[Any] | None = None, padding: str | None = None) -> str:
    """Everything that the values of a sample depend on.

    Args:
        volume: the scan, or a mask.
        onto: if the volume is a mask, the matrix of the scan that it masks.
        padding: likewise, what the mask has outside, which is that of the scan.
    """
    matrix = np.eye(len(volume.affine)) if volume.sampling is None else volume.sampling.matrix
    relative = None if onto is None else (np.round(matrix @ np.linalg.inv(onto), 6) + 0.0).tolist()
    if onto is None:
        padding = None if volume.sampling is None else volume.sampling.padding_mode
    steps = [
        _identity(step, matrix, padding) if isinstance(step, LazyVolume) else pickle.dumps(step).hex()
        for step in volume.intensity
    ]
    outside = None if onto is None else padding
    return repr((volume.key, repr(volume.source), relative, outside, steps))
