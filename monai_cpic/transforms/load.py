"""Opening scans without reading them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, RandomizableTrait

from monai_cpic.data import LazyVolume, open_volume

__all__ = ["HANDLE", "LoadLazyVolumed"]

HANDLE = "lazy_volume"  # the entry of a placeholder's metadata that holds the volume


class LoadLazyVolumed(MapTransform, RandomizableTrait):
    """Open scans and replace each by a placeholder, on which MONAI's lazy spatial transforms record their operations.

    A placeholder is a MetaTensor with the shape and affine of the scan.  All of its voxels are one NaN, so it takes no memory.
    Use this transform in ``Compose(..., lazy=True)`` and end the spatial transforms with :class:`FreezeLazyVolumed`.

    The transform is marked as random, so that data sets with a cache (CacheDataset, PersistentDataset) keep the results up to
    here and execute this transform and the following ones for every item.  Opening takes milliseconds; a cache boundary among
    the lazy transforms would apply the operations that they have recorded.

    Args:
        keys: entries that are scans, as :func:`~monai_cpic.data.open_volume` takes them.
        allow_missing_keys: do not raise an error for missing keys.
        options: of the reader, such as ``cache_dir``.
    """

    def __init__(self, keys: KeysCollection, allow_missing_keys: bool = False, **options: Any) -> None:
        super().__init__(keys, allow_missing_keys)
        self.options = options

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        items: dict[Hashable, Any] = dict(data)
        for key in self.key_iterator(items):
            items[key] = self._placeholder(open_volume(items[key], **self.options))
        return items

    @staticmethod
    def _placeholder(volume: LazyVolume) -> MetaTensor:
        voxels = torch.full((1,) * len(volume.shape), torch.nan, device="cpu").expand(volume.shape)
        return MetaTensor(voxels, affine=volume.affine, meta={HANDLE: volume, "filename_or_obj": volume.key})
