"""Lazy pipelines against the same MONAI transforms of the dense volume."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import monai.transforms as mt
import nibabel
import numpy as np
import pytest
import torch
from dense import KEY, compare, compare_decided
from monai.data import MetaTensor

from monai_cpic.data import LazyVolume, open_volume
from monai_cpic.transforms import FreezeLazyVolumed, LoadLazyVolumed, ScaleIntensityRangeLazyd

AFFINE = torch.tensor([[0.0, 0.9, 0, -30], [-0.8, 0, 0, 25], [0, 0, 2.0, 10], [0, 0, 0, 1]], dtype=torch.float64)
Transforms = Callable[[], list[Any]]


@pytest.fixture
def image() -> MetaTensor:
    return MetaTensor(torch.rand(2, 22, 18, 14) * 1400 - 1000, affine=AFFINE)


EXACT: dict[str, Transforms] = {
    "nothing": lambda: [],
    "orientation": lambda: [mt.Orientationd(KEY, "RAS")],
    "flip": lambda: [mt.Flipd(KEY, (0, 2))],
    "pad": lambda: [mt.SpatialPadd(KEY, (32, 20, 14), mode="edge")],
    "crop": lambda: [mt.CenterSpatialCropd(KEY, (12, 30, 9))],
    "turn": lambda: [mt.Rotate90d(KEY, 1, (0, 2)), mt.BorderPadd(KEY, 3)],
    "all": lambda: [mt.Orientationd(KEY, "LAS"), mt.Flipd(KEY, 1), mt.ResizeWithPadOrCropd(KEY, (30, 12, 16))],
    "random": lambda: [mt.RandFlipd(KEY, 0.5, 0), mt.RandSpatialCropd(KEY, (9, 9, 9), random_size=False)],
}
INTERPOLATED: dict[str, Transforms] = {
    "spacing": lambda: [mt.Spacingd(KEY, (1.0, 1.2, 1.5))],
    "resize": lambda: [mt.Resized(KEY, (11, 32, 14))],
    "zoom": lambda: [mt.Zoomd(KEY, (0.6, 1.3, 1.0), keep_size=False)],
    "rotate": lambda: [mt.Rotated(KEY, (0.3, 0.2, -0.5))],
    "affine": lambda: [
        mt.RandAffined(KEY, None, 1.0, rotate_range=(0.3, 0.1, 0.2), shear_range=(0.1,) * 3, translate_range=3, scale_range=0.2)
    ],
    "corners": lambda: [mt.Resized(KEY, (11, 32, 14), mode="trilinear", align_corners=True)],
    "preprocessing": lambda: [
        mt.Orientationd(KEY, "RAS"),
        mt.Spacingd(KEY, (1.1, 1.0, 1.7)),
        mt.SpatialPadd(KEY, (32, 32, 16)),
        mt.CenterSpatialCropd(KEY, (20, 24, 16)),
        mt.Flipd(KEY, 0),
    ],
    "augmentation": lambda: [
        mt.Spacingd(KEY, (1.1, 1.0, 1.7)),
        mt.RandFlipd(KEY, 0.5, 1),
        mt.RandRotated(KEY, 0.4, 0.4, 0.4, prob=1.0),
        mt.RandZoomd(KEY, 1.0, 0.8, 1.2),
    ],
}


@pytest.mark.parametrize("padding_mode", ["border", "zeros"])
@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
@pytest.mark.parametrize("name", EXACT)
def test_moving_voxels_is_exact(image: MetaTensor, name: str, mode: str, padding_mode: str) -> None:
    for seed in range(3):
        compare(image, EXACT[name], mode, padding_mode, 0, seed)


@pytest.mark.parametrize("padding_mode", ["border", "zeros"])
@pytest.mark.parametrize("name", INTERPOLATED)
def test_interpolation_is_that_of_monai(image: MetaTensor, name: str, padding_mode: str) -> None:
    for seed in range(3):
        compare(image, INTERPOLATED[name], "bilinear", padding_mode, 1e-4, seed)


@pytest.mark.parametrize("name", ["spacing", "rotate"])
def test_nearest_is_that_of_monai(image: MetaTensor, name: str) -> None:
    undecided = compare_decided(image, INTERPOLATED[name], "nearest", "border")
    assert undecided < 0.3  # ties between two voxels, which rounding decides in another way on another processor


TWO_DIMENSIONAL: dict[str, Transforms] = {
    "flip": lambda: [mt.Flipd(KEY, 1)],
    "resize": lambda: [mt.Resized(KEY, (17, 50))],
    "rotate": lambda: [mt.Rotated(KEY, 0.4), mt.SpatialPadd(KEY, (40, 40))],
}


@pytest.mark.parametrize("meta", [False, True])
@pytest.mark.parametrize("name", TWO_DIMENSIONAL)
def test_two_dimensions(name: str, meta: bool) -> None:
    image = torch.rand(3, 30, 25)
    volume = compare(MetaTensor(image) if meta else image, TWO_DIMENSIONAL[name], "bilinear", "border", 1e-4)
    assert volume.affine.shape == (3, 3)


def test_intensities(image: MetaTensor) -> None:
    volume = compare(image, INTERPOLATED["spacing"], "bilinear", "border", 1e-4)
    scaled = ScaleIntensityRangeLazyd(KEY, -1000, 400, 0, 1, clip=True)({KEY: volume})[KEY]
    centres = torch.stack([torch.randint(0, n, (50,)) for n in volume.shape[1:]], 1)
    expected = mt.ScaleIntensityRange(-1000, 400, 0, 1, clip=True)(volume.gather(centres, 4))
    assert isinstance(expected, MetaTensor)
    torch.testing.assert_close(scaled.gather(centres, 4), expected.as_tensor())


def test_a_large_scan_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "scan.nii"
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.uint8)
    header.set_data_shape((2048, 2048, 2048))
    header["vox_offset"] = 352
    with path.open("wb") as file:
        file.write(header.binaryblock + bytes(4))
        file.truncate(352 + 2048**3)  # sparse
    halve = mt.Zoomd(KEY, 0.5, keep_size=False)
    pipeline = mt.Compose([LoadLazyVolumed(KEY), mt.Flipd(KEY, 0), halve, FreezeLazyVolumed(KEY)], lazy=True)
    volume = pipeline({KEY: path})[KEY]
    assert volume.shape == (1, 1024, 1024, 1024)
    assert volume.gather(torch.randint(0, 1024, (20, 3)), 5).eq(0).all()


# ---- what must be refused ------------------------------------------------------------------------------------------------


def refused(transforms: list[Any], image: Any, message: str, lazy: bool | None = True) -> None:
    with pytest.raises(RuntimeError) as error:
        mt.Compose([LoadLazyVolumed(KEY), *transforms, FreezeLazyVolumed(KEY)], lazy=lazy)({KEY: image})
    causes = []
    cause: BaseException | None = error.value
    while cause is not None:
        causes.append(str(cause))
        cause = cause.__cause__
    assert message in " ".join(causes)
    assert KEY in " ".join(causes)


def test_transforms_that_computed_voxels(image: MetaTensor) -> None:
    refused([mt.Flipd(KEY, 0)], image, "lazy=True", lazy=False)
    refused([mt.CenterSpatialCropd(KEY, (4, 4, 4))], image, "lazy=True", lazy=None)
    refused([mt.ScaleIntensityRanged(KEY, 0, 1, 0, 1)], image, "after FreezeLazyVolumed")
    refused([mt.Flipd(KEY, 0), mt.Lambdad(KEY, lambda x: x)], image, "after FreezeLazyVolumed")
    refused([mt.RandGaussianNoised(KEY, prob=1.0)], image, "after FreezeLazyVolumed")
    refused([mt.Flipd(KEY, 0), mt.ApplyPendingd(KEY)], image, "Flip")


def test_transforms_that_choose_by_voxels(image: MetaTensor) -> None:
    refused([mt.CropForegroundd(KEY, source_key=KEY)], image, "CropForeground")
    refused([mt.Flipd(KEY, 0), mt.CropForegroundd(KEY, source_key=KEY)], image, "CropForeground")


def test_order_of_the_lazy_transforms(image: MetaTensor) -> None:
    with pytest.raises(TypeError, match=r"'image' holds a MetaTensor.*after FreezeLazyVolumed"):
        ScaleIntensityRangeLazyd(KEY, 0, 1)(LoadLazyVolumed(KEY)({KEY: image}))
    with pytest.raises(TypeError, match=r"'image' holds a MetaTensor.*LoadLazyVolumed"):
        FreezeLazyVolumed(KEY)({KEY: image})
    with pytest.raises(TypeError, match=r"'image' holds a LazyVolume.*LoadLazyVolumed"):
        FreezeLazyVolumed(KEY)({KEY: open_volume(image)})


def test_missing_keys(image: MetaTensor) -> None:
    for transform in (LoadLazyVolumed, FreezeLazyVolumed):
        assert transform(KEY, allow_missing_keys=True)({"other": 1}) == {"other": 1}
        with pytest.raises(KeyError):
            transform(KEY)({"other": 1})


def test_an_open_volume_may_be_given(image: MetaTensor) -> None:
    volume = open_volume(image)
    assert mt.Compose([LoadLazyVolumed(KEY), FreezeLazyVolumed(KEY)], lazy=True)({KEY: volume})[KEY] is volume


def test_only_the_named_keys_are_touched(image: MetaTensor) -> None:
    pipeline = mt.Compose([LoadLazyVolumed(KEY), mt.Flipd([KEY, "mask"], 0), FreezeLazyVolumed(KEY)], lazy=True)
    item = pipeline({KEY: image, "mask": MetaTensor(torch.arange(5.0).reshape(1, 5, 1, 1)), "age": 60})
    assert isinstance(item[KEY], LazyVolume)
    assert item["mask"].flatten().tolist() == [4, 3, 2, 1, 0]
    assert item["age"] == 60
