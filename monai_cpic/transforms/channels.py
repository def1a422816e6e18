"""Intensities of channels of different kinds, such as a CT, an MRI and labels, in one step."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from monai.config import KeysCollection
from monai.transforms import NormalizeIntensity, ScaleIntensityRange
from torch import Tensor

from monai_cpic.data import LazyVolume
from monai_cpic.data.statistics import estimated
from monai_cpic.transforms.intensity import LazyIntensityTransform
from monai_cpic.transforms.normalize import SAMPLES, PerChannel, moments

__all__ = ["ScaleChannelsLazyd"]


class ScaleChannelsLazyd(LazyIntensityTransform):
    """For each channel of every patch that is read a window of intensities, or normalisation by the scan's own statistics.

    A window is :class:`monai.transforms.ScaleIntensityRange` to 0 … 1 with clipping; without one a channel is normalised as by
    :class:`~monai_cpic.transforms.NormalizeIntensityLazyd`.

    Args:
        keys: volumes of :class:`FreezeLazyVolumed`.
        windows: for each channel the two intensities that are mapped to 0 and 1, or None.
        nonzero: normalise by the voxels that are not 0, and leave the others 0.
        allow_missing_keys: do not raise an error for missing keys.

    Example:
        >>> import torch
        >>> from monai_cpic.data import open_volume
        >>> volume = open_volume(torch.tensor([[[-1000.0, 400.0]], [[1.0, 3.0]]]))  # a CT and an MRI of two voxels
        >>> scaled = ScaleChannelsLazyd("image", [(-1000, 400), None])({"image": volume})["image"]
        >>> scaled.gather(torch.tensor([[0, 0], [0, 1]]), size=1).flatten(1).tolist()
        [[0.0, -1.0], [1.0, 1.0]]
    """

    def __init__(
        self,
        keys: KeysCollection,
        windows: Sequence[Sequence[float] | None],
        nonzero: bool = False,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.windows = windows
        self.nonzero = nonzero

    def change(self, volume: LazyVolume, items: Mapping[Hashable, Any]) -> LazyVolume:
        """The volume, scaled.

        Raises:
            ValueError: if there is not one window for each channel.
        """
        if len(self.windows) != volume.shape[0]:
            raise ValueError(f"{volume!r} has {volume.shape[0]} channels, but there are {len(self.windows)} windows")
        found: Any = [None] * len(self.windows)
        if None in self.windows:
            found = estimated(volume, f"mean and deviation of each channel, {self.nonzero=}", self._moments, SAMPLES)
        functions: list[Callable[[Tensor], Any]] = []
        for channel, window in enumerate(self.windows):
            if window is None:
                mean, deviation = found[channel]
                functions.append(NormalizeIntensity(mean, deviation, self.nonzero))
            else:
                low, high = window
                functions.append(ScaleIntensityRange(low, high, 0.0, 1.0, clip=True))
        return volume.scaled(PerChannel(tuple(functions)))

    def _moments(self, sample: Tensor) -> list[tuple[float, float]]:
        return [moments(values, self.nonzero) for values in sample]
