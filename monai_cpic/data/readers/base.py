"""The interface of readers, and what several of them share: the affine of an LPS geometry, decoded files in the cache."""

from __future__ import annotations

import json
import math
import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from monai_cpic.data.sources import MappedSource
from monai_cpic.data.volume import LazyVolume

__all__ = ["VOXELS", "Reader", "damaged", "is_url", "open_decoded", "ras_affine", "write_header"]

VOXELS = "voxels.raw"
HEADER = "header.json"


@dataclass(frozen=True)
class Reader:
    """One kind of volume that :func:`~monai_cpic.data.open_volume` opens.

    Args:
        kind: what messages call it, such as ``".nii"``.
        matches: whether a location, an absolute path that exists or a URL, is of this kind.
        open: the volume at a location; takes the options of the reader.
    """

    kind: str
    matches: Callable[[str], bool]
    open: Callable[..., LazyVolume]


@contextmanager
def damaged(name: str, fault: str = "is truncated or damaged") -> Iterator[None]:
    """Name a scan in whatever a library raises about its content.

    Libraries raise many classes for a damaged header: ``KeyError``, ``SyntaxError``, ``OverflowError``, ….

    Args:
        name: of the scan.
        fault: what is wrong with it.

    Raises:
        ValueError: in place of every error but those below.
        OSError: if the operating system refuses something, such as to open one more file.
        FileNotFoundError: if there is no file.
        ImportError: if a library is missing.
    """
    try:
        yield
    except (FileNotFoundError, ImportError):
        raise
    except Exception as error:
        if not isinstance(error, OSError) or error.errno is None:  # libraries have classes of their own below OSError
            reason = str(error).strip().splitlines()
            raise ValueError(f"{name} {fault}: {reason[-1] if reason else repr(error)}; fetch it again") from error
        if error.filename is None:
            raise OSError(error.errno, error.strerror, name) from error
        raise


def is_url(location: str) -> bool:
    """Whether a location is a URL, not a path."""
    return "://" in location


def ras_affine(direction: ArrayLike, spacing: ArrayLike, origin: ArrayLike) -> NDArray[np.float64]:
    """The affine from voxel indices to RAS millimetres of a geometry in LPS millimetres, as DICOM and ITK have it.

    Args:
        direction: unit vectors of the axes as columns, ``[D, D]``.
        spacing: ``[D]``.
        origin: the first voxel, ``[D]``.

    Returns:
        float64 ``[D + 1, D + 1]``.

    Example:
        >>> ras_affine(np.eye(2), (0.5, 2.0), (10, -20)).tolist()
        [[-0.5, -0.0, -10.0], [-0.0, -2.0, 20.0], [0.0, 0.0, 1.0]]
    """
    axes = len(np.asarray(origin))
    affine = np.eye(axes + 1)
    affine[:-1, :-1] = np.asarray(direction) * np.asarray(spacing)
    affine[:-1, -1] = origin
    affine[:2] *= -1  # left to right, posterior to anterior
    return affine


def write_header(folder: Path, dtype: str, shape: Sequence[int], affine: NDArray[Any], modality: str | None = None) -> None:
    """Describe the voxels that a reader has written to the file :data:`VOXELS` of a cache folder.

    Args:
        folder: of the cache.
        dtype: numpy's name, with the byte order.
        shape: as stored, the last axis contiguous.
        affine: from voxel indices ``(X, Y[, Z])`` to RAS millimetres.
        modality: as DICOM names it, if the files say so.
    """
    header = {"dtype": dtype, "shape": list(shape), "affine": affine.tolist(), "modality": modality}
    (folder / HEADER).write_text(json.dumps(header))


def open_decoded(folder: Path, key: str, channel: int) -> LazyVolume:
    """Open voxels in a cache folder that were described by :func:`write_header`.

    Args:
        folder: of the cache.
        key: the path of the scan.
        channel: the stored axis that is the channel, 0 or -1; the others are spatial, stored in reverse order.

    Raises:
        ValueError: if the voxels are not of the number and dtype of the header, or this is none.
    """
    try:
        header = json.loads((folder / HEADER).read_text())
        dtype, shape = np.dtype(header["dtype"]), tuple(operator.index(edge) for edge in header["shape"])
        size, found = math.prod(shape) * dtype.itemsize, (folder / VOXELS).stat().st_size
        if dtype.kind not in "iuf" or min(shape) < 1 or size != found:
            raise ValueError(f"{found} bytes of {dtype} {shape}")
        axes = list(range(len(shape)))
        first = axes.pop(channel)
        affine = torch.tensor(header["affine"], dtype=torch.float64, device="cpu")
    except (FileNotFoundError, LookupError, TypeError, ValueError) as error:
        raise ValueError(
            f"{key}: what is unpacked of it is not what it should be ({error}): remove this folder, {folder}"
        ) from error
    source = MappedSource(str(folder / VOXELS), dtype.str, shape, (first, *reversed(axes)), cache_dir=str(folder.parent))
    return LazyVolume(source, affine, key, modality=header.get("modality"))  # 0.1 wrote none
