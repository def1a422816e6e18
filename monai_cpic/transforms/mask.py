"""Masks of sampled cubes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monai.config import KeysCollection

from monai_cpic.data import LazyVolume
from monai_cpic.transforms.intensity import LazyIntensityTransform, lazy_volume

__all__ = ["MaskIntensityLazyd"]


class MaskIntensityLazyd(LazyIntensityTransform):
    """:class:`monai.transforms.MaskIntensity` of every cube that is read: 0 where a mask, as of the brain, is not positive.

    Normalization by :class:`NormalizeIntensityLazyd` with ``nonzero=True`` after it is that of the voxels within the mask.

    Args:
        keys: volumes of :class:`FreezeLazyVolumed`.
        mask_key: the mask, loaded and frozen like the volumes, with the same spatial transforms (``mode="nearest"`` keeps its
            border); it has one channel, or those of the volume.
        allow_missing_keys: do not mind missing keys.
    """

    def __init__(self, keys: KeysCollection, mask_key: str, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.mask_key = mask_key

    def change(self, volume: LazyVolume, items: Mapping[str, Any]) -> LazyVolume:
        """The volume, masked."""
        return volume.masked(lazy_volume(items, self.mask_key))
