"""Scans that stay in the memory of an accelerator."""

from __future__ import annotations

import logging
import math
from collections.abc import Hashable, Mapping
from dataclasses import replace
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, RandomizableTrait

from monai_cpic.data import LazyVolume
from monai_cpic.data.sources import Source
from monai_cpic.transforms.intensity import lazy_volume

__all__ = ["KeepOnDeviced"]

logger = logging.getLogger(__name__)

MEANS = 1.3  # bytes per voxel of means over blocks: float32, once of 2 × 2 × 1 voxels or more, else of 4 × 4 × 1 or more


class KeepOnDeviced(MapTransform, RandomizableTrait):
    """Keep the voxels of scans, and of their masks, on an accelerator as long as they fit; the others stay where they are.

    Before a scan is copied, its size is estimated; one that would not fit any more is read from disk in every step.  So is one
    that is interpolated by cubic splines, which are computed on the host.  Put this transform last.  The loader must have no
    workers, which cannot share the memory of an accelerator.

    Args:
        keys: volumes of :class:`FreezeLazyVolumed`.
        device: the accelerator.
        gibibytes: of its memory that the scans may take; 0 keeps none there.
        allow_missing_keys: do not raise an error for missing keys.
    """

    def __init__(
        self, keys: KeysCollection, device: torch.device | str, gibibytes: float, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.device = torch.device(device)
        self.left = gibibytes * 2**30
        self._kept: dict[tuple[str, str], Source] = {}
        self._told = False

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        items: dict[Hashable, Any] = dict(data)
        for key in self.key_iterator(items):
            items[key] = self._placed(lazy_volume(items, key))
        return items

    def _placed(self, volume: LazyVolume) -> LazyVolume:
        if volume.sampling is not None and volume.sampling.cubic:
            return volume
        steps = tuple(self._placed(step) if isinstance(step, LazyVolume) else step for step in volume.intensity)
        return replace(volume, source=self._source(volume), intensity=steps)

    def _source(self, volume: LazyVolume) -> Source:
        if volume.key is None:  # nothing tells it from other scans
            return volume.source
        scan = volume.key, repr(volume.source)
        if scan not in self._kept:
            needed = math.prod(volume.source.shape) * (volume.source.dtype.itemsize + MEANS)
            if needed > self.left:
                if self.left and not self._told:
                    logger.info("%d scans are on %s; the others do not fit and are read from disk", len(self._kept), self.device)
                    self._told = True
                return volume.source
            self._kept[scan] = volume.source.to(self.device)
            self.left -= needed
        return self._kept[scan]
