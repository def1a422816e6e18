"""Intensities of sampled cubes: MONAI's functions of known parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monai.config import KeysCollection
from monai.transforms import MapTransform, ScaleIntensityRange

from monai_cpic.data import LazyVolume

__all__ = ["LazyIntensityTransform", "ScaleIntensityRangeLazyd"]


class LazyIntensityTransform(MapTransform):
    """What changes the intensities of volumes of :class:`FreezeLazyVolumed`, one by one."""

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Change each volume.

        Raises:
            TypeError: if an entry is not a LazyVolume.
        """
        items = dict(data)
        for key in self.key_iterator(items):
            items[key] = self.change(lazy_volume(items, key), items)
        return items

    def change(self, volume: LazyVolume, items: Mapping[str, Any]) -> LazyVolume:
        """The volume with one more step.

        Args:
            volume: the volume.
            items: the other entries of the item.
        """
        raise NotImplementedError


def lazy_volume(items: Mapping[str, Any], key: str) -> LazyVolume:
    """An entry that must be a LazyVolume."""
    if not isinstance(items[key], LazyVolume):
        raise TypeError(f"{key!r} holds a {type(items[key]).__name__}, not a LazyVolume: scale after FreezeLazyVolumed")
    return items[key]


class ScaleIntensityRangeLazyd(LazyIntensityTransform):
    """:class:`monai.transforms.ScaleIntensityRange` of every cube that is read, such as a window of Hounsfield units.

    Args:
        keys: volumes of :class:`FreezeLazyVolumed`.
        a_min: value mapped to ``b_min``.
        a_max: value mapped to ``b_max``.
        b_min: see ``a_min``.
        b_max: see ``a_max``.
        clip: confine the result to ``b_min … b_max``.
        allow_missing_keys: do not mind missing keys.
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

    def change(self, volume: LazyVolume, items: Mapping[str, Any]) -> LazyVolume:
        """The volume, scaled."""
        return volume.scaled(self.scaler)
