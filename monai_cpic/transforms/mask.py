"""Masks of the patches that are read."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from monai.config import KeysCollection

from monai_cpic.data import LazyVolume
from monai_cpic.transforms.intensity import LazyIntensityTransform, lazy_volume

__all__ = ["MaskIntensityLazyd"]


class MaskIntensityLazyd(LazyIntensityTransform):
    """:class:`monai.transforms.MaskIntensity` of every patch that is read: 0 where a mask, such as the brain's, is not positive.

    A following :class:`NormalizeIntensityLazyd` with ``nonzero=True`` normalizes by the voxels within the mask.

    Args:
        keys: volumes of :class:`FreezeLazyVolumed`.
        mask_key: the mask, loaded and frozen with the same spatial transforms as the volumes (``mode="nearest"`` keeps its
            border sharp); it has one channel or as many as the volume.
        allow_missing_keys: do not raise an error for missing keys.
    """

    def __init__(self, keys: KeysCollection, mask_key: str, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.mask_key = mask_key

    def change(self, volume: LazyVolume, items: Mapping[Hashable, Any]) -> LazyVolume:
        return volume.masked(lazy_volume(items, self.mask_key))
