"""Intensities of the patches that are read: MONAI's functions with known parameters."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from monai.config import KeysCollection
from monai.transforms import MapTransform, ScaleIntensityRange

from monai_cpic.data import LazyVolume

__all__ = ["LazyIntensityTransform", "ScaleIntensityRangeLazyd"]


class LazyIntensityTransform(MapTransform):
    """Base of transforms that change the intensities of volumes of :class:`FreezeLazyVolumed`."""

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Change each volume.

        Raises:
            TypeError: if an entry is not a LazyVolume.
        """
        items: dict[Hashable, Any] = dict(data)
        for key in self.key_iterator(items):
            items[key] = self.change(lazy_volume(items, key), items)
        return items

    def change(self, volume: LazyVolume, items: Mapping[Hashable, Any]) -> LazyVolume:
        """The volume with one more intensity step.

        Args:
            volume: of one key.
            items: all entries of the data item.
        """
        raise NotImplementedError


def lazy_volume(items: Mapping[Hashable, Any], key: Hashable) -> LazyVolume:
    """An entry, which must be a LazyVolume.

    Raises:
        TypeError: if it is not.
    """
    volume = items[key]
    if not isinstance(volume, LazyVolume):
        raise TypeError(f"{key!r} holds a {type(volume).__name__}, not a LazyVolume: scale after FreezeLazyVolumed")
    return volume


class ScaleIntensityRangeLazyd(LazyIntensityTransform):
    """:class:`monai.transforms.ScaleIntensityRange` of every patch that is read, such as a window of Hounsfield units.

    Args:
        keys: volumes of :class:`FreezeLazyVolumed`.
        a_min: value mapped to ``b_min``.
        a_max: value mapped to ``b_max``.
        b_min: see ``a_min``.
        b_max: see ``a_max``.
        clip: clamp the result to ``b_min … b_max``.
        allow_missing_keys: do not raise an error for missing keys.
    """

    def __init__(
        self,
        keys: KeysCollection,
        a_min: float,
        a_max: float,
        b_min: float = 0.0,
        b_max: float = 1.0,
        clip: bool = True,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.scaler = ScaleIntensityRange(a_min, a_max, b_min, b_max, clip)

    def change(self, volume: LazyVolume, items: Mapping[Hashable, Any]) -> LazyVolume:
        return volume.scaled(self.scaler)
