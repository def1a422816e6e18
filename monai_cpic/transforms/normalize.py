"""Intensities of the patches that are read, scaled by statistics of the whole scan."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import NormalizeIntensity, ScaleIntensityRange
from torch import Tensor

from monai_cpic.data import LazyVolume
from monai_cpic.data.statistics import estimated
from monai_cpic.transforms.intensity import LazyIntensityTransform

__all__ = ["NormalizeIntensityLazyd", "ScaleIntensityRangePercentilesLazyd"]

logger = logging.getLogger(__name__)

SAMPLES = 2**17  # voxels


class NormalizeIntensityLazyd(LazyIntensityTransform):
    """:class:`monai.transforms.NormalizeIntensity` of every patch that is read: ``(value − mean) / standard deviation``.

    Mean and deviation are estimated from a sample of the voxels of the stored scan, whatever part of it the spatial transforms
    keep; see :func:`~monai_cpic.data.statistics.estimated`.

    Args:
        keys: volumes of :class:`FreezeLazyVolumed`.
        subtrahend: a number to subtract instead of the mean; if ``channel_wise``, one per channel, with None for channels that
            use their mean.
        divisor: a number to divide by instead of the standard deviation, in the same way.
        nonzero: ignore voxels that are 0, such as those outside a mask (:class:`MaskIntensityLazyd`), and leave them 0.
        channel_wise: normalize each channel by its own statistics.
        samples: number of voxels to estimate from.
        seed: of their random choice.
        cache_dir: where estimates are kept; default: the cache folder of unpacked scans.
        allow_missing_keys: do not raise an error for missing keys.
    """

    def __init__(
        self,
        keys: KeysCollection,
        subtrahend: float | Sequence[float | None] | None = None,
        divisor: float | Sequence[float | None] | None = None,
        nonzero: bool = False,
        channel_wise: bool = False,
        samples: int = SAMPLES,
        seed: int = 0,
        cache_dir: str | Path | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.subtrahend = subtrahend
        self.divisor = divisor
        self.nonzero = nonzero
        self.channel_wise = channel_wise
        self.sample = (samples, seed, cache_dir)

    def change(self, volume: LazyVolume, items: Mapping[Hashable, Any]) -> LazyVolume:
        """The volume, normalized.

        Raises:
            ValueError: if ``subtrahend`` or ``divisor`` is not one number per channel.
        """
        rows = volume.shape[0] if self.channel_wise else 1
        given = [self._given(self.subtrahend, rows, volume), self._given(self.divisor, rows, volume)]
        if any(None in column for column in given):
            name = f"mean and deviation, {self.nonzero=}, {self.channel_wise=}"
            moments = estimated(volume, name, self._moments, *self.sample)
            given = [
                [estimate if number is None else number for number, estimate in zip(column, found, strict=True)]
                for column, found in zip(given, zip(*moments, strict=True), strict=True)
            ]
        functions = [NormalizeIntensity(mean, deviation, self.nonzero) for mean, deviation in zip(*given, strict=True)]
        return volume.scaled(_per_channel(functions, self.channel_wise))

    def _given(self, value: float | Sequence[float | None] | None, rows: int, volume: LazyVolume) -> list[float | None]:
        if value is None:
            return [None] * rows
        numbers = [None if number is None else float(number) for number in np.ravel(np.array(value, dtype=object))]
        if len(numbers) != rows:
            raise ValueError(f"{volume!r} needs {rows} numbers to normalize with, got {numbers}")
        return numbers

    def _moments(self, sample: Tensor) -> list[tuple[float, float]]:
        return [moments(values, self.nonzero) for values in (sample if self.channel_wise else [sample])]


def moments(values: Tensor, nonzero: bool) -> tuple[float, float]:
    """Mean and standard deviation of sampled voxels, of all or of those that are not 0."""
    kept = values[values != 0] if nonzero else values
    if not len(kept):  # the scan is empty, or the sample has missed what is there
        logger.warning("none of %d sampled voxels is nonzero: intensities stay as they are", values.numel())
    return (kept.double().mean().item(), kept.double().std(correction=0).item()) if len(kept) else (0.0, 1.0)


class ScaleIntensityRangePercentilesLazyd(LazyIntensityTransform):
    """:class:`monai.transforms.ScaleIntensityRangePercentiles` of every patch that is read.

    Percentiles are estimated from a sample of the voxels of the stored scan, as by :class:`NormalizeIntensityLazyd`.

    Args:
        keys: volumes of :class:`FreezeLazyVolumed`.
        lower: percentile (0 … 100) mapped to ``b_min``.
        upper: percentile mapped to ``b_max``.
        b_min: see ``lower``.
        b_max: see ``upper``.
        clip: clamp the result to ``b_min … b_max``.
        relative: map to the same percentiles of the range ``b_min … b_max`` instead of to its ends.
        channel_wise: scale each channel by its own percentiles.
        samples: number of voxels to estimate from.
        seed: of their random choice.
        cache_dir: where estimates are kept; default: the cache folder of unpacked scans.
        allow_missing_keys: do not raise an error for missing keys.

    Raises:
        ValueError: unless ``0 ≤ lower < upper ≤ 100``.
    """

    def __init__(
        self,
        keys: KeysCollection,
        lower: float,
        upper: float,
        b_min: float = 0.0,
        b_max: float = 1.0,
        clip: bool = False,
        relative: bool = False,
        channel_wise: bool = False,
        samples: int = SAMPLES,
        seed: int = 0,
        cache_dir: str | Path | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if not 0 <= lower < upper <= 100:
            raise ValueError(f"lower={lower} and upper={upper} are not percentiles, 0 ≤ lower < upper ≤ 100")
        self.percentiles = (lower, upper)
        width = b_max - b_min
        self.target = (b_min + width * lower / 100, b_min + width * upper / 100) if relative else (b_min, b_max)
        self.clip = clip
        self.channel_wise = channel_wise
        self.sample = (samples, seed, cache_dir)

    def change(self, volume: LazyVolume, items: Mapping[Hashable, Any]) -> LazyVolume:
        ranges = estimated(volume, f"{self.percentiles=}, {self.channel_wise=}", self._ranges, *self.sample)
        functions = [ScaleIntensityRange(low, high, *self.target, clip=self.clip) for low, high in ranges]
        return volume.scaled(_per_channel(functions, self.channel_wise))

    def _ranges(self, sample: Tensor) -> list[list[float]]:
        return [
            np.percentile(values.numpy(), self.percentiles).tolist() for values in (sample if self.channel_wise else [sample])
        ]


@dataclass(frozen=True)
class PerChannel:
    """Applies a function to each channel of patches ``[N, C, *size]``."""

    functions: tuple[Callable[[Tensor], Any], ...]

    def __call__(self, patches: Tensor) -> Tensor:
        return torch.stack([function(channel) for function, channel in zip(self.functions, patches.unbind(1), strict=True)], 1)


def _per_channel(functions: Sequence[Callable[[Tensor], Any]], channel_wise: bool) -> Callable[[Tensor], Any]:
    return PerChannel(tuple(functions)) if channel_wise else functions[0]
