"""Reading patches in the workers of a DataLoader before the network asks for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.transforms.traits import RandomizableTrait

from monai_cpic.networks import Decomposition
from monai_cpic.transforms.intensity import lazy_volume

__all__ = ["ReadAheadd"]


class ReadAheadd(MapTransform, RandomizableTrait):
    """Read the patches that the next training step will ask for in the worker; the network reads those that are missing.

    This requires a decomposition that knows its points beforehand (:meth:`~monai_cpic.networks.Decomposition.planned`).
    Cross-approximation knows them if a step repeats the points of an earlier one: give it an
    :class:`~monai_cpic.networks.IndexStore` in a folder, which workers can read, with a ``hold`` of 2 or more.  A step that
    chooses new points depends on values that are not known yet, so nothing is read ahead for it, nor for a volume's first step.
    Put this transform last.

    Args:
        keys: volumes of :class:`FreezeLazyVolumed`.
        decomposition: the decomposition of the network.
        size: edge of the patches, the encoder's receptive field.
        steps: distances between their voxels, the encoder's.
        allow_missing_keys: do not raise an error for missing keys.
    """

    def __init__(
        self,
        keys: KeysCollection,
        decomposition: Decomposition,
        size: int,
        steps: Sequence[int] = (1,),
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.decomposition = decomposition
        self.size = size
        self.steps = steps

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Read ahead for each volume.

        Raises:
            TypeError: if an entry is not a LazyVolume.
        """
        items: Any = dict(data)
        for key in self.key_iterator(items):
            volume = lazy_volume(items, key)
            points = self.decomposition.planned(volume)
            if points is not None:
                items[key] = volume.prefetched(points, self.size, steps=self.steps)
        return items
