"""OME-Zarr images, versions 0.4 and 0.5."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from monai_cpic.data.affine import check_affine
from monai_cpic.data.readers.base import Reader, damaged, is_url, ras_affine
from monai_cpic.data.readers.zarr_source import ZarrSource
from monai_cpic.data.volume import LazyVolume

__all__ = ["ZARR", "open_zarr"]

logger = logging.getLogger(__name__)

MILLIMETRES = {
    "angstrom": 1e-7,
    "nanometer": 1e-6,
    "micrometer": 1e-3,
    "millimeter": 1.0,
    "centimeter": 10.0,
    "decimeter": 100.0,
    "meter": 1e3,
    "inch": 25.4,
}
MOST = 2**62  # voxels, of which int64 numbers all
MISSING = ("fill", "error")
GROUP_FILES = ("zarr.json", ".zgroup", ".zattrs")  # one of them is in every folder that is a Zarr group


def open_zarr(
    location: str,
    spacing: float | Sequence[float] | None = None,
    missing_chunks: str = "fill",
    storage_options: Mapping[str, Any] | None = None,
) -> LazyVolume:
    """Open an OME-Zarr image as a volume ``(C, X, Y[, Z])``; chunks are decoded when patches touch them, and cached.

    OME-Zarr does not record the orientation of a patient.  Its axes are taken as LPS (x to the left, y to the back, z to the
    head), as converters of medical images write them, and the affine maps to RAS.  Lengths without a unit are millimetres.

    Args:
        location: a folder, or any URL that fsspec opens (``s3://…``, ``https://…``).
        spacing: in mm, one number or one for each of x, y[, z].  The level of the pyramid that is opened is the coarsest one that
            is, along each axis, not coarser than this or than the finest level.  Default: the finest level.
        missing_chunks: ``"fill"`` or ``"error"``, see :class:`~monai_cpic.data.readers.zarr_source.ZarrSource`.
        storage_options: of fsspec, such as ``{"anon": True}``, of JSON types.

    Raises:
        ImportError: if zarr, or what fsspec needs for the URL, is not installed.
        FileNotFoundError: if there is nothing at the location.
        ValueError: if there is no OME-Zarr image, or one of several time points or of numbers that are not real, or the spacing
            is not one.
        OSError: if a remote store does not answer.
    """
    asked = None if spacing is None else np.atleast_1d(np.asarray(spacing, np.float64))
    if asked is not None and (asked.ndim > 1 or not (np.isfinite(asked) & (asked > 0)).all()):
        raise ValueError(f"{location}: spacing={spacing}; one positive number, or one for each of x, y and z, is expected")
    if missing_chunks not in MISSING:
        raise ValueError(f"missing_chunks={missing_chunks!r}; it is one of {MISSING}")
    try:
        from monai_cpic.data.readers.zarr_store import open_array, open_group, version, with_retries
    except ImportError as error:
        raise ImportError(
            f"{location}: OME-Zarr needs the optional packages: pip install 'monai-cpic[zarr]' ({error})"
        ) from error
    options = json.dumps(dict(storage_options or {}), sort_keys=True)
    group = with_retries(lambda: open_group(location, options), location)
    with damaged(location, "has metadata that are damaged or unknown"):
        attributes = dict(group.attrs)
        images = attributes.get("ome", attributes).get("multiscales")
    if not images:
        raise ValueError(f"{location} has no multiscales metadata; name the group of one OME-Zarr image (0.4 or 0.5)")
    if len(images) > 1:
        logger.warning("%s holds %d multiscale images; the first one is used", location, len(images))
    with damaged(location, "has metadata that are damaged or unknown"):
        image = images[0]
        axes = [axis["name"] for axis in image["axes"]]
        spatial = tuple(axes.index(name) for name in "xyz" if name in axes)
        levels = [(entry["path"], *_geometry(image, entry)) for entry in image["datasets"]]
    if asked is not None and len(asked) not in (1, len(spatial)):
        raise ValueError(f"{location}: spacing={spacing} for the axes {[axes[axis] for axis in spatial]}")
    with damaged(location, "has metadata that are damaged or unknown"):
        chosen = _level([scale[list(spatial)] for _, scale, _ in levels], asked)
    path, scale, origin = levels[chosen]
    array: Any = with_retries(lambda: open_array(location, path, options), location, path)
    if max(math.prod(array.shape), math.prod(array.chunks)) > MOST:
        raise ValueError(f"{location}: {path} has the shape {array.shape} and chunks {array.chunks}; fetch it again")
    if len(array.shape) != len(axes) or 0 in (*array.shape, *array.chunks):
        raise ValueError(
            f"{location}: {path} has the shape {array.shape} and chunks {array.chunks} for the axes {axes}; fetch it again"
        )
    others = [name for name in axes if name not in (*"xyz", "c") and array.shape[axes.index(name)] > 1]
    if others or len(spatial) < 2:
        raise ValueError(f"{location}: axes {axes}, shape {array.shape}; a volume has x, y, perhaps z and c: save one apart")
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{location}: {path} has the data type {array.dtype}; a volume has real numbers")
    affine = ras_affine(np.eye(len(spatial)), scale[list(spatial)], origin[list(spatial)])
    check_affine(affine, location)
    source = ZarrSource(
        location,
        path,
        tuple(array.shape),
        tuple(array.chunks),
        array.dtype.str,
        spatial,
        axes.index("c") if "c" in axes else None,
        missing_chunks,
        options,
        _coarser(levels, chosen, list(spatial)),
        version(location, path, options),
    )
    return LazyVolume(source, torch.from_numpy(affine), location)


def _geometry(image: Mapping[str, Any], level: Mapping[str, Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Spacing and coordinate of the first voxel along each axis of a level, in millimetres along spatial axes."""
    scale, origin = np.ones(len(image["axes"])), np.zeros(len(image["axes"]))
    for step in (*level.get("coordinateTransformations", ()), *image.get("coordinateTransformations", ())):
        if step["type"] == "scale":
            factors = np.asarray(step["scale"], np.float64)
            scale, origin = scale * factors, origin * factors
        elif step["type"] == "translation":
            origin = origin + np.asarray(step["translation"], np.float64)
        elif step["type"] != "identity":
            raise ValueError(f"coordinate transformation {step['type']!r}; scale and translation are supported")
    units = np.ones(len(scale))
    for number, axis in enumerate(image["axes"]):
        unit = axis.get("unit", "millimeter")
        if axis["name"] in "xyz":
            if unit not in MILLIMETRES:
                raise ValueError(f"axis {axis['name']} is in {unit!r}; known units are {', '.join(MILLIMETRES)}")
            units[number] = MILLIMETRES[unit]
    return scale * units, origin * units


def _level(spacings: Sequence[NDArray[Any]], asked: NDArray[Any] | None) -> int:
    """The coarsest level that is along no axis more than one per cent coarser than asked or than the finest level."""
    finest_first = sorted(range(len(spacings)), key=lambda number: float(np.prod(spacings[number])))
    finest = spacings[finest_first[0]]
    limit = finest if asked is None else np.maximum(asked, finest)
    return [number for number in finest_first if (spacings[number] <= 1.01 * limit).all()][-1]


def _coarser(
    levels: Sequence[tuple[str, NDArray[Any], NDArray[Any]]], chosen: int, spatial: list[int]
) -> tuple[tuple[tuple[int, ...], str], ...]:
    """The levels that have whole blocks of the chosen one as voxels: edges of the blocks, and the path of the level.

    Writers differ in whether the first voxel of a level lies at the centre of its block or at the block's first voxel.
    """
    _, spacing, origin = levels[chosen]
    result = []
    for path, scale, first in levels:
        ratios, shift = (scale / spacing)[spatial], ((first - origin) / spacing)[spatial]
        factors = np.rint(ratios)
        within = (shift >= -0.01 * factors) & (shift <= factors / 2)
        if (np.abs(ratios - factors) <= 0.01 * factors).all() and within.all() and factors.max() > 1:
            result.append((tuple(int(factor) for factor in factors), path))
    return tuple(result)


ZARR = Reader(
    "OME-Zarr",
    lambda location: is_url(location) or any((Path(location) / name).exists() for name in GROUP_FILES),
    open_zarr,
)
