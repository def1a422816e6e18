"""Batches of volumes, as a DataLoader makes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch.utils.data._utils.collate import default_collate_fn_map

from monai_cpic.data.volume import LazyVolume

__all__ = ["VolumeBatch", "list_collate"]


class VolumeBatch(list[LazyVolume]):
    """Volumes to which a DataLoader collates handles: a list with what MONAI's engines ask of a tensor.

    Example:
        >>> import torch
        >>> from monai.data import DataLoader
        >>> from monai_cpic.data import open_volume
        >>> (batch,) = DataLoader([{"image": open_volume(torch.zeros(1, 8, 8, 8))}], batch_size=1)
        >>> batch["image"].to("cpu")
        [LazyVolume(shape=(1, 8, 8, 8), key=None)]
    """

    def to(self, *device: Any, **options: Any) -> VolumeBatch:
        """The batch itself: voxels go to the network's device when they are read."""
        return self


def list_collate(batch: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Collate dictionaries to a dictionary of lists without stacking, for tensors of different lengths."""
    return {key: [item[key] for item in batch] for key in batch[0]}


default_collate_fn_map[LazyVolume] = lambda batch, *, collate_fn_map=None: VolumeBatch(batch)
