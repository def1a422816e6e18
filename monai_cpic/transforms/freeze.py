"""From a stand-in with recorded transforms to the volume that they describe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.data.utils import to_affine_nd
from monai.transforms import Affine, LazyTransform, MapTransform
from monai.transforms.lazy.utils import affine_from_pending, combine_transforms
from monai.utils import TraceKeys
from numpy.typing import NDArray

from monai_cpic.data import LazyVolume, Sampling
from monai_cpic.transforms.load import HANDLE

__all__ = ["FreezeLazyVolumed"]


class FreezeLazyVolumed(MapTransform, LazyTransform):
    """End the lazy spatial transforms: replace each stand-in by the volume, seen on the grid that they lead to.

    MONAI's lazy transforms do not record how to interpolate or what lies outside, so both are said here.

    Args:
        keys: stand-ins of :class:`LoadLazyVolumed`.
        mode: ``"bilinear"``, ``"nearest"`` or the order of a spline: 0, 1, 3 (cubic); see :class:`~monai_cpic.data.Sampling`.
        padding_mode: ``"border"`` or ``"zeros"``.
        allow_missing_keys: do not mind missing keys.
    """

    def __init__(
        self, keys: KeysCollection, mode: str | int = "bilinear", padding_mode: str = "border", allow_missing_keys: bool = False
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        LazyTransform.__init__(self, lazy=True)
        self.mode = mode
        self.padding_mode = padding_mode

    def __call__(self, data: Mapping[str, Any], lazy: bool | None = None) -> dict[str, Any]:
        """Replace each stand-in.

        Raises:
            TypeError: if an entry is not a stand-in.
            ValueError: if a transform has already computed voxels of it, or asks for another interpolation.
        """
        items = dict(data)
        for key in self.key_iterator(items):
            items[key] = self._freeze(key, items[key])
        return items

    def _freeze(self, key: str, stand_in: Any) -> LazyVolume:
        volume = stand_in.meta.get(HANDLE) if isinstance(stand_in, MetaTensor) else None
        if volume is None:
            raise TypeError(
                f"{key!r} holds a {type(stand_in).__name__}, not what LoadLazyVolumed put there: freeze after lazy transforms"
            )
        strides = [stride for stride, n in zip(stand_in.stride(), stand_in.shape, strict=True) if n > 1]
        if tuple(stand_in.shape) != volume.shape or any(strides) or stand_in.applied_operations:
            done = [operation.get("class", "a transform") for operation in stand_in.applied_operations] or ["a transform"]
            raise ValueError(
                f"{key!r} ({volume.key}): {', '.join(done)} has computed voxels that were never read; use "
                "Compose(..., lazy=True), spatial transforms that do not look at voxels (no CropForegroundd) and lazy intensity "
                "transforms after FreezeLazyVolumed"
            )
        if not stand_in.pending_operations:
            return volume
        shape = tuple(int(n) for n in stand_in.peek_pending_shape())
        names = ", ".join(str(operation.get("class", "a transform")) for operation in stand_in.pending_operations)
        if min(shape) < 1:
            raise ValueError(
                f"{key!r} ({volume.key}): {names} left the empty grid {shape}; a transform that chooses by voxel values, such as "
                "CropForegroundd, finds none in a scan that stays on disk: crop a fixed region instead"
            )
        self._check_modes(f"{key!r} ({volume.key})", stand_in.pending_operations)
        return volume.sampled(Sampling(_matrix(stand_in.pending_operations, shape), shape, self.mode, self.padding_mode))

    def _check_modes(self, name: str, operations: Sequence[dict[str, Any]]) -> None:
        """Refuse what MONAI's lazy resampling passes over, or what its splines do not mean."""
        for operation in operations:
            transform, said = operation.get(TraceKeys.CLASS_NAME), operation.get(TraceKeys.EXTRA_INFO) or {}
            while TraceKeys.EXTRA_INFO in said:  # a random transform wraps what another records
                said = said[TraceKeys.EXTRA_INFO]
            wanted = said.get("mode")
            if isinstance(wanted, int) and wanted != self.mode:
                raise ValueError(f"{name}: {transform} has mode={wanted}; say FreezeLazyVolumed(..., mode={wanted})")
        if isinstance(self.mode, int) and any(_aligns_corners(operation) for operation in operations):
            raise ValueError(
                f"{name}: splines (mode={self.mode}) have no align_corners=True in MONAI; leave it out or use mode='bilinear'"
            )


def _matrix(operations: Sequence[dict[str, Any]], shape: tuple[int, ...]) -> NDArray:
    """Voxels of the final grid to those of the scan, as MONAI's ``apply_pending`` combines them."""
    first = operations[0]
    if len(operations) == 1 and _aligns_corners(first) and "affine" in first[TraceKeys.EXTRA_INFO]:
        # Affined alone; among other transforms MONAI does not heed its align_corners
        affine, size = first[TraceKeys.EXTRA_INFO]["affine"], first[TraceKeys.ORIG_SIZE]
        return np.asarray(Affine.compute_w_affine(len(shape), affine, size, shape, align_corners=True), np.float64)
    matrix = torch.eye(len(shape) + 1, dtype=torch.float64)
    for operation in operations:
        matrix = combine_transforms(matrix, torch.as_tensor(to_affine_nd(len(shape), affine_from_pending(operation))))
    return matrix.numpy()


def _aligns_corners(operation: dict[str, Any]) -> bool:
    return (operation.get(TraceKeys.EXTRA_INFO) or {}).get("align_corners") is True
