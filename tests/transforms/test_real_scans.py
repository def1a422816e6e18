"""Lazy spatial transforms of real scans against the same transforms of the dense volumes."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import monai.transforms as mt
import numpy as np
import pytest
import SimpleITK
import torch
from dense import KEY, compare_decided
from monai.data import MetaTensor

REAL: dict[str, Callable[[], list[Any]]] = {
    "zoom": lambda: [mt.CenterSpatialCropd(KEY, (40, 36, 20)), mt.Zoomd(KEY, 2, keep_size=False)],
    "preprocessing": lambda: [
        mt.Orientationd(KEY, "RAS"),
        mt.Spacingd(KEY, (2.5, 2.0, 1.5)),
        mt.ResizeWithPadOrCropd(KEY, (80, 120, 40)),
    ],
    "augmentation": lambda: [
        mt.RandFlipd(KEY, 0.5, 0),
        mt.RandAffined(KEY, (60, 60, 24), 1.0, rotate_range=0.2, translate_range=5, scale_range=0.1),
    ],
    "rotation": lambda: [mt.Rotated(KEY, (0.1, 0.2, 0.3)), mt.CenterSpatialCropd(KEY, (60, 60, 20))],
}


@pytest.fixture(scope="module")
def chest(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> MetaTensor:
    """Two dozen slices of the chest CT, every fourth column and row, read by SimpleITK."""
    folder = tmp_path_factory.mktemp("ct")
    with tarfile.open(real_data / "chest_ct_lidc0314" / "LIDC-IDRI-0314_dicom.tar.xz") as archive:
        archive.extractall(folder, [member for member in archive if member.name.endswith(".dcm")], filter="data")
    files = SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(next(folder.rglob("*.dcm")).parent))
    dense = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(files[100:124])).transpose(2, 1, 0)[None, ::4, ::4]
    affine = torch.diag(torch.tensor([-3.125, -3.125, 1, 1], dtype=torch.float64))
    return MetaTensor(torch.from_numpy(dense.astype(np.float32)), affine=affine)


@pytest.fixture(scope="module")
def brain(real_data: Path) -> MetaTensor:
    """Four modalities as channels, read by MONAI, every third voxel."""
    folder = real_data / "brain_openms_4mod" / "patient07"
    files = [next(folder.glob(f"{name}_N4*")) for name in ("T1", "T1POST", "T2", "FLAIR")]
    read = mt.LoadImage(image_only=True, ensure_channel_first=True)
    channels = [read(file) for file in files]
    affine = channels[0].affine @ torch.diag(torch.tensor([3.0, 3, 3, 1], dtype=torch.float64))
    return MetaTensor(torch.cat([channel.as_tensor() for channel in channels])[:, ::3, ::3, ::3].float(), affine=affine)


@pytest.mark.parametrize("mode", ["bilinear", "nearest", 3])
@pytest.mark.parametrize("scan", ["chest", "brain"])
@pytest.mark.parametrize("name", REAL)
def test_real_scans(name: str, scan: str, mode: str | int, request: pytest.FixtureRequest) -> None:
    compare_decided(request.getfixturevalue(scan), REAL[name], mode, "border")
