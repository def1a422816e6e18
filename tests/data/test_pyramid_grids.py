"""Patches far and near on other grids than the stored one, against volumes that MONAI transforms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import monai.transforms as mt
import numpy as np
import pytest
import torch
from dense import KEY, pipelines
from monai.data import MetaTensor
from pyramid_checks import check, spacing
from scipy import ndimage
from torch import Tensor

from monai_cpic.data import open_function, open_volume
from monai_cpic.testing.dense import dense_steps, points_around

pytestmark = pytest.mark.usefixtures("cache")


def smooth(*shape: int) -> Tensor:
    """Noise without details below about twelve voxels."""
    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=shape), (0, *(12,) * (len(shape) - 1)))
    return torch.from_numpy((noise / np.ptp(noise)).astype(np.float32))


EXACT: dict[str, Callable[[], list[Any]]] = {
    "flip": lambda: [mt.Flipd(KEY, (0, 2))],
    "permute": lambda: [mt.Orientationd(KEY, "PSR", labels=None)],
    "turn": lambda: [mt.Rotate90d(KEY, 1, (0, 1))],
    "crop by whole blocks": lambda: [mt.SpatialCropd(KEY, roi_start=(8, 4, 0), roi_end=(24, 28, 16))],
    "crop and flip": lambda: [mt.SpatialCropd(KEY, roi_start=(8, 4, 0), roi_end=(24, 28, 16)), mt.Flipd(KEY, 1)],
}


CLOSE: dict[str, Callable[[], list[Any]]] = {
    "crop": lambda: [mt.SpatialCropd(KEY, roi_start=(3, 5, 1), roi_end=(61, 60, 39))],
    "finer": lambda: [mt.Spacingd(KEY, (0.6, 0.6, 0.6))],
    "coarser": lambda: [mt.Spacingd(KEY, (2.2, 1.7, 1.0))],
    "zoom": lambda: [mt.Zoomd(KEY, 1.1)],
    "rotate": lambda: [mt.RandAffined(KEY, prob=1, rotate_range=(0.2, 0.1, 0.3), scale_range=0.1)],
    "turn by an eighth": lambda: [mt.Rotated(KEY, (0, 0, np.pi / 4))],
}


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("mode", ["bilinear", "nearest", 1, 3])
def test_grids_that_are_exact(name: str, mode: str | int) -> None:
    image = MetaTensor(torch.rand(2, 24, 32, 16), affine=torch.diag(torch.tensor([-1.0, 1, 1, 1])))
    volume, expected = pipelines(image, EXACT[name], mode, "border")
    check(volume, expected.as_tensor(), (1, 2, 4))


def test_grids_padded_by_zeros_are_refused() -> None:
    volume, _ = pipelines(MetaTensor(torch.rand(1, 16, 16, 16)), EXACT["permute"], "bilinear", "zeros")
    centres = torch.zeros(1, 3, dtype=torch.int64)
    assert volume.gather(centres, 3).shape == (1, 1, 3, 3, 3)
    with pytest.raises(ValueError, match='padded by zeros.*padding_mode="border"'):
        volume.gather(centres, 3, steps=(1, 4))


@pytest.mark.parametrize("size", [45, 157])
def test_flips_of_sizes_that_blocks_do_not_divide_differ_at_the_border_only(size: int) -> None:
    """A ramp, which has no curvature: exact inside, wrong by a part of a block where the last one is cut off."""
    image = MetaTensor(torch.linspace(0, 1, size).reshape(1, size, 1, 1).expand(1, size, 16, 16).clone())
    volume, expected = pipelines(image, lambda: [mt.Flipd(KEY, 0)], "bilinear", "border")
    centres = torch.stack([torch.arange(size), torch.full((size,), 8), torch.full((size,), 8)], 1)
    found = volume.gather(centres, 1, steps=(4,))
    difference = (found - dense_steps(expected.as_tensor(), centres, (1, 1, 1), (4,), spacing(volume))).abs().flatten()
    assert difference[8:-8].max() < 1e-4 and difference.max() < 4 / size


def test_blocks_of_a_constant_have_its_value() -> None:
    volume = open_volume(torch.full((1, 64, 64, 64), 0.1))
    assert abs(float(volume.coarser(64).gather(torch.zeros(1, 3, dtype=torch.int64), 1)) - 0.1) < 1e-6


def test_a_level_of_the_centres_of_blocks_is_one_of_centres() -> None:
    volume = open_function(lambda x, y, z: 1.0 * x, (1, 4096, 4096, 4096))
    centre = torch.tensor([[100, 5, 5]])
    assert volume.coarser(4).coarser(4).gather(centre // 16, 1).item() == volume.coarser(16).gather(centre // 16, 1).item()


def test_anisotropic_scans_on_other_axes() -> None:
    image = MetaTensor(torch.rand(1, 32, 16, 12), affine=torch.diag(torch.tensor([0.7, -0.7, 5, 1])))
    volume, expected = pipelines(image, EXACT["permute"], "bilinear", "border")
    assert volume.coarser(16).shape == (1, 1, 6, 2)
    check(volume, expected.as_tensor(), (1, 4, 16))


@pytest.mark.parametrize("name", CLOSE)
@pytest.mark.parametrize("steps", [(1, 2), (1, 4)])
def test_grids_that_are_interpolated(name: str, steps: tuple[int, ...]) -> None:
    """Inside the volume; how far from averaging the transformed volume depends on how smooth it is within a block."""
    volume, expected = pipelines(MetaTensor(smooth(1, 64, 64, 40)), CLOSE[name], "bilinear", "border")
    centres = torch.stack([torch.randint(n // 3, 2 * n // 3, (200,)) for n in volume.shape[1:]], 1)
    found = volume.gather(centres, 3, steps=steps)
    whole = dense_steps(expected.as_tensor(), centres, (3, 3, 3), steps, spacing(volume))
    difference = (found - whole).abs().amax((0, 2, 3, 4))
    assert difference[0] < 1e-5
    assert difference[1] < {2: 0.002, 4: 0.008}[steps[1]]  # of the range: with the square of the step


def test_a_linear_volume_is_exact_on_any_grid() -> None:
    x, y, z = np.meshgrid(*map(np.arange, (64, 64, 40)), indexing="ij")
    image = MetaTensor(torch.from_numpy((0.3 * x - 0.5 * y + z)[None].astype(np.float32)))
    for name, transforms in CLOSE.items():
        volume, expected = pipelines(image, transforms, "bilinear", "border")
        centres = torch.stack([torch.randint(2 * n // 5, 3 * n // 5, (50,)) for n in volume.shape[1:]], 1)
        found = volume.gather(centres, 3, steps=(1, 4))
        whole = dense_steps(expected.as_tensor(), centres, (3, 3, 3), (1, 4), spacing(volume)).float()
        assert (found - whole).abs().max() < 1e-4 * np.ptp(image), name


@pytest.mark.parametrize("size", [3, 5])
def test_patches_of_a_flipped_volume_are_flipped(size: int) -> None:
    values = torch.rand(1, 16, 16, 8)
    centres = points_around(values.shape)
    mirrored = torch.stack([15 - centres[:, 0], centres[:, 1], 7 - centres[:, 2]], 1)
    found = open_volume(values.flip(1, 3)).gather(mirrored, size, steps=(1, 2, 4)).flip(2, 4)
    torch.testing.assert_close(found, open_volume(values).gather(centres, size, steps=(1, 2, 4)))
