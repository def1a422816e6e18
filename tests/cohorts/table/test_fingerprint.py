"""What a cohort's scans are like."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.transforms import Compose, Orientationd, Spacingd

from monai_cpic.cohorts import Fingerprint
from monai_cpic.transforms import FreezeLazyVolumed, LoadLazyVolumed


def write(path: Path, voxels: np.ndarray[tuple[int, ...], np.dtype[np.float32]], spacing: tuple[float, float, float]) -> str:
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([*spacing, 1])), path)
    return str(path)


def test_geometry_is_that_of_ras(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    first = write(tmp_path / "a.nii", random.normal(100, 9, (30, 20, 10)).astype(np.float32), (1.0, 1.0, 5.0))
    affine = np.zeros((4, 4))
    affine[[0, 1, 2, 3], [2, 0, 1, 3]] = -2, 1, 4, 1  # stored as anterior, superior, left
    turned = random.normal(100, 9, (50, 12, 20)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(turned, affine), tmp_path / "b.nii")
    found = Fingerprint.of([first, str(tmp_path / "b.nii")], [first])
    assert found.spacing == (1.5, 1.0, 4.5) and found.extent == (38.0, 49.0, 45.0) and found.scans == 2
    assert found.grid((1.0, 1.0, 1.0)) == [48, 64, 48] and found.grid((2.0, 2.0, 4.0)) == [32, 32, 16]
    assert found.steps((1.0, 1.0, 1.0)) == [1, 4] and found.steps((0.5, 0.5, 0.5)) == [1, 4, 16] and found.steps((4, 4, 4)) == [1]
    assert found.cells([64, 64, 64]) == 1024 and found.cells([16, 16, 16]) == 64
    assert "own mean and deviation" in str(found) and found.settings["spacing"] == (1.5, 1.0, 4.5)


@pytest.mark.parametrize(
    "kind, expected",
    [("ct", "window"), ("mri", None), ("labels", (0.0, 4.0)), ("mask", (0.0, 1.0)), ("empty", (0.0, 1.0))],
)
def test_intensities(tmp_path: Path, kind: str, expected: object) -> None:
    random = np.random.default_rng(0)
    shape = (16, 16, 16)
    voxels = {
        "ct": np.where(random.random(shape) < 0.3, -1000, random.normal(40, 100, shape)),
        "mri": random.gamma(2, 200, shape),
        "labels": random.choice([0, 1, 2, 4], shape),
        "mask": random.integers(0, 2, shape),
        "empty": np.zeros(shape),
    }[kind]
    path = write(tmp_path / "scan.nii", voxels.astype(np.float32), (1.0, 1.0, 1.0))
    (window,) = Fingerprint.of([path], [path]).windows
    if expected == "window":
        assert window is not None and window[0] == -1000 and 200 < window[1] < 400
    else:
        assert window == expected


def test_background_of_zeros(tmp_path: Path) -> None:
    voxels = np.random.default_rng(0).normal(300, 50, (16, 16, 16)).astype(np.float32)
    whole = write(tmp_path / "whole.nii", voxels, (1.0, 1.0, 1.0))
    voxels[:6] = 0
    stripped = write(tmp_path / "stripped.nii", voxels, (1.0, 1.0, 1.0))
    assert not Fingerprint.of([whole], [whole]).nonzero and Fingerprint.of([stripped], [stripped]).nonzero


@settings(max_examples=20, deadline=None)
@given(
    shape=st.tuples(*[st.integers(2, 40)] * 3),
    stored=st.tuples(*[st.floats(0.4, 5)] * 3),
    wanted=st.tuples(*[st.floats(0.7, 4)] * 3),
)
def test_every_scan_fits_into_the_grid(
    tmp_path_factory: pytest.TempPathFactory,
    shape: tuple[int, int, int],
    stored: tuple[float, float, float],
    wanted: tuple[float, float, float],
) -> None:
    path = write(tmp_path_factory.mktemp("scan") / "scan.nii", np.zeros(shape, np.float32), stored)
    grid = Fingerprint.of([path], [path]).grid(wanted)
    resample = Compose(
        [
            LoadLazyVolumed("image"),
            Orientationd("image", axcodes="RAS", labels=None),
            Spacingd("image", wanted),
            FreezeLazyVolumed("image"),
        ],
        lazy=True,
    )
    seen = resample({"image": path})["image"].shape[1:]
    assert all(edge <= limit for edge, limit in zip(seen, grid, strict=True))
