"""OME-Zarr images of the tests, and reading them whole."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import zarr

from monai_cpic.data import open_volume

__all__ = ["SHAPE", "VALUES", "whole", "write"]

SHAPE = (2, 21, 30, 25)  # c, z, y, x
VALUES = np.random.default_rng(0).integers(1, 2000, SHAPE).astype("<i2")


def write(
    location: str,
    values: np.ndarray = VALUES,
    version: str = "0.5",
    names: str = "czyx",
    unit: str | None = "millimeter",
    levels: int = 3,
    shift: float = 0.0,
    **options: Any,
) -> str:
    """An image whose voxels are 0.5 mm (x, y) and 2 mm (z); the next levels are twice as coarse in x and y.

    A level has every other voxel of the one before.  It is said to lie ``shift`` of its voxels further.
    """
    store = zarr.storage.FsspecStore.from_url(location) if "://" in location else location
    group = zarr.create_group(store, zarr_format=2 if version == "0.4" else 3)
    datasets = []
    for level in range(levels):
        step = 2**level
        smaller = values[..., ::step, ::step]
        chunks = tuple(min(8, edge) if name != "c" else 1 for name, edge in zip(names, smaller.shape, strict=True))
        array = group.create_array(str(level), shape=smaller.shape, dtype=smaller.dtype, **{"chunks": chunks, **options})
        array[...] = smaller
        scale = [{"z": 2.0, "y": 0.5 * step, "x": 0.5 * step}.get(name, 1.0) for name in names]
        further = 0.5 * step * shift if level else 0.0
        origin = [{"z": -7.0, "y": 3.0 + further, "x": 5.0 + further}.get(name, 0.0) for name in names]
        steps = [{"type": "scale", "scale": scale}, {"type": "translation", "translation": origin}]
        datasets.append({"path": str(level), "coordinateTransformations": steps})
    axes = [{"name": name, **({"type": "space", "unit": unit} if name in "xyz" and unit else {})} for name in names]
    image: dict[str, Any] = {"axes": axes, "datasets": datasets}
    if version == "0.4":
        group.attrs["multiscales"] = [{"version": version, **image}]
    else:
        group.attrs["ome"] = {"version": version, "multiscales": [image]}
    return location


def whole(location: str, **options: Any) -> np.ndarray:
    """All voxels that a handle reads, ``[C, x, y, z]``."""
    volume = open_volume(location, **options)
    shape = torch.tensor(volume.shape[1:])
    return volume.gather(shape[None] // 2, shape.tolist())[0].numpy()
