"""Numbers of a whole scan, estimated from a sample of its voxels and remembered."""

from __future__ import annotations

import json
import math
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from monai_cpic.data.cache import cached
from monai_cpic.data.sampling import Sampling
from monai_cpic.data.volume import LazyVolume

__all__ = ["estimated", "voxel_sample"]


def voxel_sample(volume: LazyVolume, count: int, seed: int = 0) -> Tensor:
    """Values of voxels of the stored scan, whatever grid it is seen on, as the handle's intensity steps give them.

    Args:
        volume: the scan.
        count: voxels to draw, with replacement; a scan that has no more gives all of its voxels.
        seed: of the choice.

    Returns:
        float32 ``[C, n]``.
    """
    shape = volume.source.shape[1:]
    if volume.sampling is not None:
        back = Sampling(np.linalg.inv(volume.sampling.matrix), shape, "nearest", volume.sampling.padding_mode)
        volume = volume.sampled(back)
    total = math.prod(shape)
    if total <= count:
        chosen = torch.arange(total)
    else:
        chosen = torch.randint(total, (count,), generator=torch.Generator().manual_seed(seed)).sort().values  # read in order
    return volume.gather(torch.stack(torch.unravel_index(chosen, shape), 1), 1).flatten(1).T


def estimated(
    volume: LazyVolume,
    name: str,
    statistic: Callable[[Tensor], Sequence[Sequence[float]]],
    count: int,
    seed: int = 0,
    cache_dir: str | Path | None = None,
) -> list[list[float]]:
    """A statistic of :func:`voxel_sample`, computed once for a scan that has a key and kept in the cache folder.

    All processes find it there, in every epoch.  It belongs to the scan's files as they are, the intensity steps so far, the
    sample and its name; not to the grid on which the scan is seen, so random spatial transforms do not change it.

    Args:
        volume: the scan.
        name: what is computed, with its parameters.
        statistic: numbers of a sample.
        count: see :func:`voxel_sample`.
        seed: see :func:`voxel_sample`.
        cache_dir: see :func:`~monai_cpic.data.cache.cached`.
    """

    def compute() -> list[list[float]]:
        return [[float(number) for number in row] for row in statistic(voxel_sample(volume, count, seed))]

    def write(folder: Path) -> None:
        (folder / "statistic.json").write_text(json.dumps(compute()))

    keys = _keys(volume)
    if None in keys:
        return compute()
    files = [path for key in keys for part in str(key).split("; ") if (path := Path(part)).exists()]
    return json.loads(
        (cached(files, cache_dir, write, repr((name, count, seed, _identity(volume)))) / "statistic.json").read_text()
    )


def _keys(volume: LazyVolume) -> list[str | None]:
    """Of the scan and its masks."""
    return [volume.key, *(key for step in volume.intensity if isinstance(step, LazyVolume) for key in _keys(step))]


def _identity(volume: LazyVolume, onto: np.ndarray | None = None) -> str:
    """What the voxels of a sample depend on.

    Args:
        volume: the scan, or a mask.
        onto: for a mask, the matrix of the scan that it masks.
    """
    matrix = np.eye(len(volume.affine)) if volume.sampling is None else volume.sampling.matrix
    place = None if onto is None else (np.round(matrix @ np.linalg.inv(onto), 6) + 0.0).tolist()
    steps = [_identity(step, matrix) if isinstance(step, LazyVolume) else pickle.dumps(step).hex() for step in volume.intensity]
    return repr((volume.key, repr(volume.source), place, steps))
