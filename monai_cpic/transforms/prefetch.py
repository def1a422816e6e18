"""Reading in the DataLoader what the network will ask for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.transforms.traits import RandomizableTrait

from monai_cpic.data import LazyVolume
from monai_cpic.networks import IndexStore
from monai_cpic.tensor_train import qtt_modes, tt_modes

__all__ = ["CrossPatchSamplerd"]


class CrossPatchSamplerd(MapTransform, RandomizableTrait):
    """Read, in the worker, the cubes of a volume that the next training step will ask for; the network reads what is missing.

    They are known when the step repeats the coordinates of an earlier one: give the network and this transform an
    :class:`~monai_cpic.networks.IndexStore` of the same folder and a ``hold`` of 2 or more.  A step that chooses new coordinates
    does so from values that nobody has yet, so nothing is read ahead for it, nor for a volume's first step.  Put it last.

    Args:
        keys: volumes of :class:`FreezeLazyVolumed`.
        indices: the network's index sets, in a folder.
        spatial_shape: the network's grid.
        n_dims: the network's latent channels.
        size: edge of the cubes, the encoder's receptive field.
        tensorization: the network's, ``"qtt"`` or ``"tt"``.
        allow_missing_keys: do not mind missing keys.

    Raises:
        ValueError: if the index sets are not in a folder, or the tensorization is unknown.
    """

    def __init__(
        self,
        keys: KeysCollection,
        indices: IndexStore,
        spatial_shape: Sequence[int],
        n_dims: int = 16,
        size: int = 9,
        tensorization: str = "qtt",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if indices.folder is None:
            raise ValueError("the index sets must be in a folder, which workers can read: IndexStore(hold, folder=…)")
        if tensorization not in ("qtt", "tt"):
            raise ValueError(f'tensorization is "qtt" or "tt", got {tensorization!r}')
        self.indices = indices
        self.modes = {"qtt": qtt_modes, "tt": tt_modes}[tensorization](spatial_shape, n_dims)
        self.size = size

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Read ahead for each volume.

        Raises:
            TypeError: if an entry is not a LazyVolume.
        """
        items = dict(data)
        for key in self.key_iterator(items):
            volume = items[key]
            if not isinstance(volume, LazyVolume):
                raise TypeError(f"{key!r} holds a {type(volume).__name__}, not a LazyVolume: sample after FreezeLazyVolumed")
            indices = self.indices.get(volume.key)
            if indices is not None and indices.rows is not None:
                points = indices.coordinates(self.modes)[0, :, :-1].unique(dim=0)
                items[key] = volume.prefetched(points, self.size)
        return items
