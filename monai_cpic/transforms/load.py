"""Loading without reading."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, RandomizableTrait

from monai_cpic.data import LazyVolume, open_volume

__all__ = ["HANDLE", "LoadLazyVolumed"]

HANDLE = "lazy_volume"  # where the stand-in's metadata holds the volume


class LoadLazyVolumed(MapTransform, RandomizableTrait):
    """Open scans and put stand-ins in their place, on which MONAI's lazy spatial transforms record what they would do.

    A stand-in is a MetaTensor of the scan's shape and affine that holds one NaN for all voxels and takes no memory.  Use it in
    ``Compose(..., lazy=True)`` and end the spatial transforms with :class:`FreezeLazyVolumed`.

    It counts as random, so that data sets with a cache (CacheDataset, PersistentDataset) keep what was there before and repeat it
    and all that follows for every item: opening takes milliseconds, while a cut further down would apply what the lazy transforms
    before it recorded.

    Args:
        keys: paths of scans (:func:`~monai_cpic.data.open_volume`), or arrays.
        allow_missing_keys: do not mind missing keys.
        options: of the reader, such as ``cache_dir``.
    """

    def __init__(self, keys: KeysCollection, allow_missing_keys: bool = False, **options: Any) -> None:
        super().__init__(keys, allow_missing_keys)
        self.options = options

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Replace each scan."""
        items = dict(data)
        for key in self.key_iterator(items):
            items[key] = self._stand_in(open_volume(items[key], **self.options))
        return items

    @staticmethod
    def _stand_in(volume: LazyVolume) -> MetaTensor:
        nothing = torch.full((1,) * len(volume.shape), torch.nan).expand(volume.shape)
        return MetaTensor(nothing, affine=volume.affine, meta={HANDLE: volume, "filename_or_obj": volume.key})
