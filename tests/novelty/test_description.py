"""Descriptions of scans against dense arrays, and what they must not depend on."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Flipd, Orientationd, Spacingd
from torch.nn.functional import adaptive_avg_pool2d, adaptive_avg_pool3d

from monai_cpic.data import open_function, open_volume
from monai_cpic.novelty import describe
from monai_cpic.transforms import FreezeLazyVolumed, LoadLazyVolumed, ScaleIntensityRangeLazyd

AFFINE = torch.tensor([[-0.5, 0, 0, 10], [0, -0.75, 0, 20], [0, 0, 4, 30], [0, 0, 0, 1]], dtype=torch.float64)


def test_lattice_of_a_small_scan_is_the_scan() -> None:
    """With 16 voxels along each axis, all of them are looked at."""
    dense = torch.rand(2, 16, 16, 16)
    scan = describe(open_volume(MetaTensor(dense, affine=AFFINE)))
    assert scan.intensities == tuple(tuple(np.percentile(channel, [0, 1, 99, 100])) for channel in dense.double().numpy())
    torch.testing.assert_close(scan.picture, adaptive_avg_pool3d(dense.double(), 4).flatten())
    assert scan.orientation == "".join(nibabel.aff2axcodes(AFFINE.numpy())) == "LPS"
    assert scan.spacing == (0.5, 0.75, 4.0) and scan.shape == (16, 16, 16) and scan.modality is None and not scan.constant


def test_two_dimensions() -> None:
    dense = torch.rand(1, 16, 16)
    scan = describe(open_volume(dense))
    torch.testing.assert_close(scan.picture, adaptive_avg_pool2d(dense.double(), 4).flatten())
    assert scan.orientation == "RA" and scan.spacing == (1.0, 1.0)


def test_what_is_stored_does_not_depend_on_the_preprocessing() -> None:
    image = MetaTensor(1000 * torch.rand(1, 20, 24, 18), affine=AFFINE)
    preprocessing = Compose(
        [
            LoadLazyVolumed("image"),
            Orientationd("image", axcodes="RAS", labels=None),
            Spacingd("image", pixdim=(1.0, 1.0, 2.0)),
            Flipd("image", spatial_axis=0),
            FreezeLazyVolumed("image"),
            ScaleIntensityRangeLazyd("image", a_min=0, a_max=100),
        ],
        lazy=True,
    )
    seen, stored = describe(preprocessing({"image": image})["image"]), describe(open_volume(image))
    assert (seen.orientation, seen.shape, seen.intensities) == (stored.orientation, stored.shape, stored.intensities)
    assert seen.spacing == pytest.approx(stored.spacing)
    window = describe(open_volume((image / 100).clip(0, 1)))
    torch.testing.assert_close(seen.picture, window.picture)


def test_quantities_have_names_of_directions_and_units() -> None:
    scan = describe(open_volume(MetaTensor(torch.arange(4096.0).reshape(1, 16, 16, 16), affine=AFFINE)))
    values = {name: quantity.value for name, quantity in scan.quantities(["CT"]).items()}
    assert values == pytest.approx(
        {
            "voxel spacing in mm from left to right": 0.5,
            "field of view in mm from left to right": 8.0,
            "voxel spacing in mm from front to back": 0.75,
            "field of view in mm from front to back": 12.0,
            "voxel spacing in mm from feet to head": 4.0,
            "field of view in mm from feet to head": 64.0,
            "1st percentile of the intensities of CT": 40.95,
            "99th percentile of the intensities of CT": 4054.05,
        }
    )


def test_a_scan_larger_than_any_disk_is_described() -> None:
    scan = describe(open_function(lambda x, y, z: x > 8191, (1, 16384, 16384, 16384)))
    assert scan.picture.tolist() == [0.0] * 32 + [1.0] * 32


@pytest.mark.parametrize("value", [0.0, -1024.0])
def test_a_scan_of_one_value_is_constant(value: float) -> None:
    assert describe(open_volume(torch.full((2, 5, 6, 7), value))).constant
    half = torch.full((2, 5, 6, 7), value)
    half[1, :2] += 1
    assert not describe(open_volume(half)).constant


@pytest.mark.parametrize("place", [(0, 0, 0), (30, 39, 49), (30, 1, 26)])
def test_a_scan_with_one_voxel_is_not_constant(tmp_path: Path, place: tuple[int, int, int]) -> None:
    values = np.zeros((31, 40, 50), np.uint8)
    values[place] = 1
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / "lesion.nii")
    assert not describe(open_volume(tmp_path / "lesion.nii")).constant


def test_lesion_maps_of_real_patients_are_not_constant(real_data: Path, tmp_path: Path) -> None:
    """Some have a single voxel."""
    paths = sorted((real_data / "cohort_stroke_soop" / "images").glob("*.nii.gz"), key=lambda path: path.stat().st_size)
    for path in paths[:20]:
        assert not describe(open_volume(path, cache_dir=tmp_path)).constant
