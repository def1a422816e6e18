"""Intensities of sampled cubes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monai.config import KeysCollection
from monai.transforms import MapTransform, ScaleIntensityRange

from monai_cpic.data import LazyVolume

__all__ = ["ScaleIntensityRangeLazyd"]


class ScaleIntensityRangeLazyd(MapTransform):
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

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Scale each volume.

        Raises:
            TypeError: if an entry is not a LazyVolume.
        """
        items = dict(data)
        for key in self.key_iterator(items):
            if not isinstance(items[key], LazyVolume):
                raise TypeError(f"{key!r} holds a {type(items[key]).__name__}, not a LazyVolume: scale after FreezeLazyVolumed")
            items[key] = items[key].scaled(self.scaler)
        return items
