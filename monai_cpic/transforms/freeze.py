"""From a placeholder with recorded transforms to the volume that they describe."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
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
    """End the lazy spatial transforms: replace each placeholder by the volume, seen on the grid that they result in.

    MONAI's lazy transforms do not record how to interpolate and what lies outside the scan, so both are arguments here.

    Args:
        keys: placeholders of :class:`LoadLazyVolumed`.
        mode: ``"bilinear"``, ``"nearest"`` or the order of a spline: 0, 1, 3 (cubic); see :class:`~monai_cpic.data.Sampling`.
        padding_mode: ``"border"`` or ``"zeros"``.
        allow_missing_keys: do not raise an error for missing keys.
    """

    def __init__(
        self, keys: KeysCollection, mode: str | int = "bilinear", padding_mode: str = "border", allow_missing_keys: bool = False
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        LazyTransform.__init__(self, lazy=True)
        self.mode = mode
        self.padding_mode = padding_mode

    def __call__(self, data: Mapping[Hashable, Any], lazy: bool | None = None) -> dict[Hashable, Any]:
        """Replace each placeholder.

        Raises:
            TypeError: if an entry is not a placeholder.
            ValueError: if a transform has computed with its voxels, or records another interpolation.
        """
        items: dict[Hashable, Any] = dict(data)
        for key in self.key_iterator(items):
            items[key] = self._freeze(key, items[key])
        return items

    def _freeze(self, key: Hashable, placeholder: Any) -> LazyVolume:
        volume = placeholder.meta.get(HANDLE) if isinstance(placeholder, MetaTensor) else None
        if not isinstance(volume, LazyVolume):
            raise TypeError(
                f"{key!r} holds a {type(placeholder).__name__}, not what LoadLazyVolumed put there: freeze after lazy transforms"
            )
        strides = [stride for stride, n in zip(placeholder.stride(), placeholder.shape, strict=True) if n > 1]
        if tuple(placeholder.shape) != volume.shape or any(strides) or placeholder.applied_operations:
            done = [operation.get("class", "a transform") for operation in placeholder.applied_operations] or ["a transform"]
            raise ValueError(
                f"{key!r} ({volume.key}): {', '.join(done)} has computed with voxels that were never read; use "
                "Compose(..., lazy=True), spatial transforms that do not depend on voxel values (no CropForegroundd) and lazy "
                "intensity transforms after FreezeLazyVolumed"
            )
        if not placeholder.pending_operations:
            return volume
        shape = tuple(int(n) for n in placeholder.peek_pending_shape())
        names = ", ".join(str(operation.get("class", "a transform")) for operation in placeholder.pending_operations)
        if min(shape) < 1:
            raise ValueError(
                f"{key!r} ({volume.key}): {names} left the empty grid {shape}; a transform that chooses by voxel values, such as "
                "CropForegroundd, finds none in a scan that stays on disk: crop a fixed region instead"
            )
        self._check_modes(f"{key!r} ({volume.key})", placeholder.pending_operations)
        return volume.sampled(Sampling(_matrix(placeholder.pending_operations, shape), shape, self.mode, self.padding_mode))

    def _check_modes(self, name: str, operations: Sequence[dict[str, Any]]) -> None:
        """Refuse interpolation modes that MONAI's lazy resampling ignores, and align_corners, which splines do not have."""
        for operation in operations:
            transform, recorded = operation.get(TraceKeys.CLASS_NAME), operation.get(TraceKeys.EXTRA_INFO) or {}
            while TraceKeys.EXTRA_INFO in recorded:  # a random transform wraps the record of another
                recorded = recorded[TraceKeys.EXTRA_INFO]
            wanted = recorded.get("mode")
            nearest = wanted == "nearest" and self.mode not in ("nearest", 0)  # others are MONAI's defaults, which nobody chose
            if nearest or (isinstance(wanted, int) and wanted != self.mode):
                raise ValueError(f"{name}: {transform} has mode={wanted!r}; use FreezeLazyVolumed(..., mode={wanted!r})")
        if isinstance(self.mode, int) and any(_aligns_corners(operation) for operation in operations):
            raise ValueError(
                f"{name}: splines (mode={self.mode}) have no align_corners=True in MONAI; omit it or use mode='bilinear'"
            )


def _matrix(operations: Sequence[dict[str, Any]], shape: tuple[int, ...]) -> NDArray[Any]:
    """The matrix from voxels of the final grid to those of the scan, combined as by MONAI's ``apply_pending``."""
    first = operations[0]
    if len(operations) == 1 and _aligns_corners(first) and "affine" in first[TraceKeys.EXTRA_INFO]:
        # A single Affined; among other transforms, MONAI ignores its align_corners.
        affine, size = first[TraceKeys.EXTRA_INFO]["affine"], first[TraceKeys.ORIG_SIZE]
        return np.asarray(Affine.compute_w_affine(len(shape), affine, size, shape, align_corners=True), np.float64)
    matrix = torch.eye(len(shape) + 1, dtype=torch.float64, device="cpu")
    for operation in operations:
        matrix = combine_transforms(matrix, torch.as_tensor(to_affine_nd(len(shape), affine_from_pending(operation))))
    return matrix.numpy()


def _aligns_corners(operation: dict[str, Any]) -> bool:
    return (operation.get(TraceKeys.EXTRA_INFO) or {}).get("align_corners") is True
