"""The dense reference of lazy pipelines: resample the whole volume, then cut patches out of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import monai.transforms as mt
import numpy as np
import torch
from monai.data import MetaTensor

from monai_cpic.data import LazyVolume
from monai_cpic.testing.dense import dense_patches, points_around
from monai_cpic.transforms import FreezeLazyVolumed, LoadLazyVolumed

KEY = "image"


def pipelines(
    image: Any, transforms: Callable[[], list[Any]], mode: str | int, padding_mode: str, seed: int = 0
) -> tuple[LazyVolume, MetaTensor]:
    """The results of a lazy pipeline and of MONAI's own on the dense volume."""
    lazy = mt.Compose([LoadLazyVolumed(KEY), *transforms(), FreezeLazyVolumed(KEY, mode, padding_mode)], lazy=True)
    dense = mt.Compose(
        [*transforms(), mt.Identityd(KEY)], lazy=True, overrides={KEY: {"mode": mode, "padding_mode": padding_mode}}
    )
    volume = lazy.set_random_state(seed)({KEY: image})[KEY]
    expected = dense.set_random_state(seed)({KEY: image if isinstance(image, MetaTensor) else MetaTensor(image)})[KEY]
    return volume, expected


def compare(
    image: Any, transforms: Callable[[], list[Any]], mode: str | int, padding_mode: str, tolerance: float, seed: int = 0
) -> LazyVolume:
    """Check grid and patches of a lazy pipeline against MONAI's, up to a part of the image's range; the lazy volume."""
    volume, expected = pipelines(image, transforms, mode, padding_mode, seed)
    assert isinstance(volume, LazyVolume)
    assert volume.shape == tuple(expected.shape)
    axes = [*range(len(volume.affine) - 1), -1]
    np.testing.assert_allclose(volume.affine, expected.affine[axes][:, axes], atol=1e-6)
    centres, size = points_around(volume.shape), (5, 4, 3)[: len(volume.shape) - 1]
    difference = volume.gather(centres, size) - dense_patches(expected.as_tensor().float(), centres, size)
    assert difference.abs().max() <= tolerance * float(image.max() - image.min())
    return volume


def compare_decided(image: MetaTensor, transforms: Callable[[], list[Any]], mode: str | int, padding_mode: str) -> float:
    """As ``compare``, except where rounding decides: between two nearest voxels, and where zeros begin.  Returns their share."""
    volume, expected = pipelines(image, transforms, mode, padding_mode)
    assert volume.shape == tuple(expected.shape)
    axes = len(volume.shape) - 1
    centres, size = points_around(volume.shape), (5, 4, 3)[:axes]
    found, patches = volume.gather(centres, size), dense_patches(expected.as_tensor().float(), centres, size)
    undecided = torch.zeros_like(found[:, :1], dtype=torch.bool)
    if volume.sampling is not None:
        grid = np.stack(np.meshgrid(*map(np.arange, volume.sampling.shape), indexing="ij"))
        matrix = volume.sampling.matrix
        stored = np.einsum("ij,j...->i...", matrix[:-1, :-1], grid) + matrix[:-1, -1].reshape(-1, *(1,) * axes)
        edges = np.array(image.shape[1:]).reshape(-1, *(1,) * axes)
        close = np.zeros(volume.sampling.shape, bool)
        if mode in ("nearest", 0):
            close |= (np.abs(stored % 1 - 0.5) < 1e-6).any(0)
        if isinstance(mode, int) and padding_mode == "zeros":
            close |= ((np.abs(stored) < 1e-6) | (np.abs(stored - edges + 1) < 1e-6)).any(0)
        undecided = dense_patches(torch.from_numpy(close)[None], centres, size)
    difference = (found - patches).abs().masked_fill(undecided, 0)
    assert difference.max() <= 1e-4 * float(image.max() - image.min())
    return undecided.float().mean().item()
