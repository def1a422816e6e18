"""Patches far and near against averages of the whole volume."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path
from typing import Any

import monai.transforms as mt
import numpy as np
import pytest
import SimpleITK
import torch
from monai.data import MetaTensor
from pyramid_checks import check, two_channels
from torch import Tensor

from monai_cpic.data import Sampling, open_volume
from monai_cpic.testing.dense import dense_means, dense_steps, points_around

pytestmark = pytest.mark.usefixtures("cache")


@pytest.mark.parametrize("shape", [(2, 16, 24, 8), (1, 13, 7, 30), (1, 19, 22), (3, 2, 1, 1)])
@pytest.mark.parametrize("dtype", [torch.int16, torch.uint8, torch.float32, torch.float64, torch.bool])
def test_arrays(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    values = torch.randint(0, 2 if dtype == torch.bool else 200, shape).to(dtype)
    check(open_volume(values), values.double(), (1, 2, 4, 16))


def test_one_step_is_the_default() -> None:
    volume, centres = open_volume(torch.rand(2, 9, 8, 7)), torch.randint(-3, 9, (20, 3))
    assert torch.equal(volume.gather(centres, 5, steps=[1]), volume.gather(centres, 5))
    assert volume.coarser(1) is volume
    assert volume.gather(centres[:0], 5, steps=(2, 8)).shape == (0, 4, 5, 5, 5)
    assert volume.gather(centres, 5, steps=(1, 2), dtype=torch.float64).dtype == torch.float64


def test_anisotropic_scans_are_thinned_along_short_axes_first() -> None:
    values = torch.rand(1, 40, 40, 12)
    volume = open_volume(MetaTensor(values, affine=torch.diag(torch.tensor([0.7, 0.7, 5, 1]))))
    assert [volume.coarser(step).shape for step in (4, 16)] == [(1, 10, 10, 12), (1, 3, 3, 6)]
    check(volume, values, (1, 4, 16))


def test_blocks_of_so_many_voxels_whatever_their_lengths() -> None:
    values = torch.rand(2, 20, 13, 9)
    volume = open_volume(MetaTensor(values, affine=torch.diag(torch.tensor([0.7, 0.7, 5, 1]))))
    means = dense_means(values, (8, 4, 2)).float()
    blocks = volume.in_blocks((8, 4, 2))
    assert blocks.shape == means.shape
    everywhere = torch.cartesian_prod(*map(torch.arange, means.shape[1:]))
    torch.testing.assert_close(blocks.gather(everywhere, 1).flatten(1).mT, means.flatten(1))


def test_a_scan_smaller_than_a_patch_at_its_coarsest_step_repeats_its_border() -> None:
    values = torch.rand(1, 20, 6, 5)
    patches = open_volume(values).gather(torch.tensor([[10, 3, 2]]), 7, steps=(16,))[0, 0]
    means = dense_means(values, (16, 16, 16))[0, :, 0, 0].float()
    torch.testing.assert_close(patches, means[[0, 0, 0, 0, 1, 1, 1]][:, None, None].expand(7, 7, 7))


def test_voxels_of_coarser_volumes_are_where_their_blocks_are() -> None:
    x, y = torch.meshgrid(torch.arange(16.0), torch.arange(8.0), indexing="ij")
    volume = open_volume(
        MetaTensor(torch.stack([3 * x + 1, 2 * y - 5]), affine=torch.tensor([[3.0, 0, 1], [0, 2, -5], [0, 0, 1]]))
    )
    far = volume.coarser(4)  # of its channels, which are the coordinates, the means are the coordinates of the voxels
    centres = torch.cartesian_prod(*map(torch.arange, far.shape[1:]))
    places = torch.cat([centres, torch.ones(len(centres), 1)], 1).double() @ far.affine.T
    assert far.shape == (2, 8, 2)
    torch.testing.assert_close(far.gather(centres, 1)[:, :, 0, 0].double(), places[:, :2])


def test_patches_read_ahead_are_those_of_their_steps(tmp_path: Path) -> None:
    volume, centres = open_volume(two_channels(tmp_path)), torch.cartesian_prod(*(torch.arange(0, 12, 4),) * 3)
    ahead = volume.prefetched(centres[:15], 3, steps=(1, 4))
    assert ahead.read is not None
    assert ahead.read.values.shape == (15, 4, 3, 3, 3)
    for steps in ((1, 4), (1,), (1, 2)):
        assert torch.equal(ahead.gather(centres, 3, steps=steps), volume.gather(centres, 3, steps=steps))
    ahead.read.values.fill_(7)
    assert (ahead.gather(centres[:15], 3, steps=(1, 4)) == 7).all()
    assert torch.equal(ahead.gather(centres, 3), volume.gather(centres, 3))


@pytest.mark.parametrize("steps", [(), (0, 1), (-4,), (1, 1), (4, 1), (1, 3), (1, 2.5), (1, 16, 4)], ids=lambda steps: str(steps))
def test_refused_steps(steps: Any) -> None:
    with pytest.raises(ValueError, match=r"steps=\(.*\): steps are powers of two, each larger than the one before"):
        open_volume(torch.zeros(1, 8, 8, 8)).gather(torch.zeros(1, 3, dtype=torch.int64), 3, steps=steps)


def test_functions_are_applied_to_means() -> None:
    values = torch.randint(-1000, 1000, (1, 16, 16, 16)).float()
    window = mt.ScaleIntensityRange(-200, 200, 0, 1, clip=True)
    volume = open_volume(values).scaled(window)
    centres = points_around(volume.shape)
    patches = volume.gather(centres, 3, steps=(1, 4))
    expected = torch.as_tensor(window(dense_steps(values, centres, (3, 3, 3), (1, 4), (1, 1, 1)).float()))
    torch.testing.assert_close(patches, expected.as_subclass(Tensor), atol=1e-5, rtol=0)


def test_masks_keep_blocks_that_hold_any_voxel_of_them() -> None:
    values, mask = torch.rand(2, 16, 13, 8) + 1, torch.zeros(1, 16, 13, 8, dtype=torch.uint8)
    mask[:, 5, 4, 3] = 1
    volume = open_volume(values).masked(open_volume(mask)).scaled(torch.neg)
    centres = points_around(volume.shape)
    kept = dense_steps(mask, centres, (3, 3, 3), (1, 2, 8), (1, 1, 1)) > 0
    expected = dense_steps(values, centres, (3, 3, 3), (1, 2, 8), (1, 1, 1)) * kept.repeat_interleave(2, 1)
    torch.testing.assert_close(volume.gather(centres, 3, steps=(1, 2, 8)), -expected.float())


def test_masks_turn_with_the_volume() -> None:
    values, mask = torch.rand(1, 16, 16, 8) + 1, (torch.rand(1, 16, 16, 8) < 0.1).byte()
    flip = Sampling(np.array([[-1, 0, 0, 15.0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), (16, 16, 8))
    volume = open_volume(values).masked(open_volume(mask)).sampled(flip)
    whole = dense_means(values.flip(1), (4, 4, 4)) * (dense_means(mask.flip(1), (4, 4, 4)) > 0)
    torch.testing.assert_close(volume.coarser(4).gather(torch.tensor([[2, 2, 1]]), (4, 4, 2))[0], whole.float())


@pytest.mark.parametrize("kind", ["chest", "brain"])
def test_real_scans(real_data: Path, tmp_path: Path, kind: str) -> None:
    scan: Any = sorted((real_data / "brain_openms_4mod" / "patient07").glob("*_brain_N4_*.nii.gz"))
    if kind == "chest":
        with tarfile.open(real_data / "chest_ct_lidc0314" / "LIDC-IDRI-0314_dicom.tar.xz") as archive:
            archive.extractall(tmp_path, filter="data")
        scan = tmp_path / "lower"
        scan.mkdir()
        for name in SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(next(tmp_path.rglob("*.dcm")).parent))[:50]:
            shutil.move(name, scan)
    volume = open_volume(scan)
    whole = volume.gather(torch.tensor([[n // 2 for n in volume.shape[1:]]]), volume.shape[1:])[0]
    check(volume, whole, (1, 4, 16))
