"""What baselines of a table know of a patient: covariates, and simple statistics of the scan."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from monai_cpic.data import LazyVolume, open_volume
from monai_cpic.data.statistics import estimated, voxel_sample

__all__ = ["Describe", "covariates_and_intensities", "descriptions", "intensities", "only_covariates"]

Array = NDArray[np.float64]
Items = Sequence[Mapping[str, Any]]

WHOLE = 2**23  # voxels of the largest scan that is read whole
SAMPLES = 2**16  # voxels of which quantiles are computed
QUANTILES = (0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99)


@dataclass(frozen=True)
class Describe:
    """A way to describe a patient by numbers.

    Args:
        name: for the names of models.
        features: from an item to the features ``[V, P]`` of its rows.
    """

    name: str
    features: Callable[[Mapping[str, Any]], Array]

    def __call__(self, items: Items) -> Array:
        """The features of all rows, ``[R, P]``."""
        return np.concatenate([self.features(item) for item in items])


def only_covariates(item: Mapping[str, Any]) -> Array:
    """The covariates."""
    return np.asarray(item["covariates"].double().numpy())


def covariates_and_intensities(item: Mapping[str, Any]) -> Array:
    """The covariates, and the statistics of :func:`intensities`."""
    known = only_covariates(item)
    scan = intensities(open_volume(list(item["files"])))
    return np.column_stack([known, np.tile(scan, (len(known), 1))])


def descriptions(covariates: bool) -> list[Describe]:
    """All ways to describe a patient, with or without covariates."""
    if not covariates:
        return [Describe("intensities", covariates_and_intensities)]
    return [Describe("covariates", only_covariates), Describe("covariates and intensities", covariates_and_intensities)]


def intensities(volume: LazyVolume) -> Array:
    """The size of a scan and, of each channel, the volume that is not 0 and the distribution of its intensities.

    Returns:
        The edge (mm) of a cube of the scan's volume; then for each channel that of the voxels that are not 0, the quantiles of
        the intensities in units of their deviation, and mean, deviation and quantiles on a logarithmic scale with a sign,
        since the units of some scanners differ by orders of magnitude.
    """
    # once for each scan: it is kept in the cache folder
    found = estimated(volume, f"intensities, {QUANTILES=}, {WHOLE=}, {SAMPLES=}", lambda _: [_features(volume)], count=1)
    return np.array(found[0])


def _features(volume: LazyVolume) -> list[float]:
    shape = volume.shape[1:]
    if math.prod(shape) <= WHOLE:
        voxels = volume.gather(torch.tensor([[edge // 2 for edge in shape]]), shape)[0].flatten(1)
    else:
        voxels = voxel_sample(volume, SAMPLES)
    size = math.prod(shape) * abs(torch.linalg.det(volume.affine[:-1, :-1])).item()
    features = [size ** (1 / 3)]
    for values in voxels:
        share = (values != 0).double().mean().item()
        some = values[:: max(1, len(values) // SAMPLES)].double()
        mean, deviation = some.mean(), some.std(correction=0).clamp(min=1e-12)
        quantiles = some.quantile(torch.tensor(QUANTILES, dtype=torch.float64))
        levels = torch.stack([mean, deviation, *quantiles])
        features += [(size * share) ** (1 / 3), *((quantiles - mean) / deviation).tolist()]
        features += (levels.sign() * levels.abs().log1p()).tolist()
    return features
