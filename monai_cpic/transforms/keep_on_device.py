"""Scans in the memory of an accelerator."""

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

MEANS = 0.3  # bytes per voxel of means over blocks: float32, of 4 × 4 × 1 voxels or more


class KeepOnDeviced(MapTransform, RandomizableTrait):
    """Put the voxels of scans, and of their masks, on an accelerator, and keep them there as long as they fit.

    The size of a scan is estimated before it is copied.  One that does not fit beside those that are kept is copied anew each
    time and forgotten after its batch; one that would not fit alone stays where it is, and its patches are read there.

    Put this transform last.  The loader must have no workers, which cannot share the memory of an accelerator; a
    :class:`~monai_cpic.data.OneAheadLoader` copies the scans of the next batch while the last one is computed with, and so holds
    up to two batches of scans that are not kept.

    Args:
        keys: volumes of :class:`FreezeLazyVolumed`.
        device: the accelerator.
        gibibytes: of its memory that kept scans may take; with 0 nothing is copied.
        allow_missing_keys: do not raise an error for missing keys.
    """

    def __init__(
        self, keys: KeysCollection, device: torch.device | str, gibibytes: float, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.device = torch.device(device)
        self.bytes = self.left = gibibytes * 2**30
        self._kept: dict[tuple[str, str], Source] = {}
        self._told = False

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        items: dict[Hashable, Any] = dict(data)
        for key in self.key_iterator(items):
            items[key] = self._placed(lazy_volume(items, key))
        return items

    def _placed(self, volume: LazyVolume) -> LazyVolume:
        steps = tuple(self._placed(step) if isinstance(step, LazyVolume) else step for step in volume.intensity)
        return replace(volume, source=self._source(volume), intensity=steps)

    def _source(self, volume: LazyVolume) -> Source:
        if volume.key is None:  # nothing tells it from other scans
            return volume.source
        scan = volume.key, repr(volume.source)
        if scan not in self._kept:
            needed = math.prod(volume.source.shape) * (volume.source.dtype.itemsize + MEANS)
            if needed > self.bytes:
                return volume.source
            there = volume.source.to(self.device)
            if needed > self.left:
                if not self._told:
                    logger.info("%d scans stay on %s; the others do not fit and are copied anew", len(self._kept), self.device)
                    self._told = True
                return there
            self._kept[scan] = there
            self.left -= needed
        return self._kept[scan]
