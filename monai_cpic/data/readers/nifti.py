"""NIfTI files: uncompressed ones are mapped, compressed ones are unpacked once."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch
from tqdm import tqdm

from monai_cpic.data.cache.expansion import check_expansion
from monai_cpic.data.cache.unpacked import cached
from monai_cpic.data.readers.base import Reader, damaged
from monai_cpic.data.sources import MappedSource
from monai_cpic.data.volume import LazyVolume

__all__ = ["NIFTI", "open_nifti"]

SUFFIXES = (".nii", ".nii.gz")
CHUNK = 1 << 22  # bytes that are unpacked at a time


def open_nifti(path: str | Path, cache_dir: str | Path | None = None) -> LazyVolume:
    """Open a 2-D or 3-D NIfTI file of one channel, scaled by its ``scl_slope`` and ``scl_inter``.

    Args:
        path: ``.nii`` or ``.nii.gz``.
        cache_dir: where compressed files are unpacked and levels are kept (:func:`~monai_cpic.data.cache.unpacked.cached`).

    Raises:
        ValueError: if the file is damaged or truncated, holds a series of volumes, or unpacks to far more than its size
            (:func:`~monai_cpic.data.cache.expansion.check_expansion`).
    """
    path = unpacked = Path(path)
    if path.suffix == ".gz":
        unpacked = cached([path], cache_dir, lambda folder: _unpack(path, folder / "volume.nii")) / "volume.nii"
    return _map(path, unpacked, cache_dir)


def _map(path: Path, unpacked: Path, cache_dir: str | Path | None) -> LazyVolume:
    """The volume of the file ``path``, which is ``unpacked`` when it is not compressed."""
    with damaged(str(path), "is not a readable NIfTI file"):
        image: Any = nibabel.load(unpacked)
        shape, proxy = tuple(image.shape), image.dataobj
        offset, scaling = int(proxy.offset), (float(proxy.slope), float(proxy.inter))
        affine = np.asarray(image.affine, dtype=np.float64)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) < 2 or min(shape) < 1:
        raise ValueError(f"{path} announces the shape {shape}, which is not that of a volume; fetch the file again")
    if len(shape) > 3:
        raise ValueError(
            f"{path} holds a series of volumes, shape {shape}, where one is expected: save the one to use in a file of its own"
        )
    if np.dtype(proxy.dtype).kind not in "iuf":
        raise ValueError(f"{path} has the data type {proxy.dtype}; a volume has real numbers")
    needed = offset + math.prod(shape) * np.dtype(proxy.dtype).itemsize
    found = unpacked.stat().st_size
    if offset < 0 or found < needed:
        raise ValueError(f"{path} is truncated: it has {found} bytes, its header announces {needed}; fetch the file again")
    axes = len(shape)
    if axes == 2 and abs(affine[2, :2]).max() > 1e-3 * np.linalg.norm(affine[:3, :2], axis=0).min():
        raise ValueError(f"{path} is a 2-D image that does not lie in the axial plane: save it with a third axis of one voxel")
    source = MappedSource(
        str(unpacked),
        np.dtype(proxy.dtype).str,
        (1, *shape[::-1]),
        (0, *range(axes, 0, -1)),
        offset,
        cache_dir=None if cache_dir is None else str(cache_dir),
        scaling=scaling,
    )
    keep = [*range(axes), 3]
    return LazyVolume(source, torch.from_numpy(affine[np.ix_(keep, keep)]), str(path))


def _unpack(path: Path, target: Path) -> None:
    progress = tqdm(
        total=path.stat().st_size, desc=f"unpacking {path.name}", unit="B", unit_scale=True, leave=False, disable=None
    )
    try:
        with progress, path.open("rb") as packed, gzip.GzipFile(fileobj=packed) as unpacking, target.open("wb") as out:
            while chunk := unpacking.read(CHUNK):
                out.write(chunk)
                check_expansion(str(path), progress.total, out.tell())
                progress.update(packed.tell() - progress.n)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} is truncated or damaged: {error}; fetch the file again") from error
    _map(path, target, None)  # raises here, so that a broken file does not get into the cache


NIFTI = Reader(", ".join(SUFFIXES), lambda location: location.endswith(SUFFIXES), open_nifti)
