"""Several files as channels of one volume."""

from __future__ import annotations

import pickle
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from monai.transforms import LoadImage

from monai_cpic.data import Sampling, open_volume

AFFINE = np.diag([0.9, 0.8, 2.5, 1.0])
KINDS = {"flair": ("<i2", (1.0, 0.0)), "t1": ("<u2", (0.5, -20.0)), "t2": ("<f4", (1.0, 0.0))}


def save(path: Path, dtype: str, scaling: tuple[float, float], shape: tuple[int, ...] = (9, 8, 7), shift: float = 0) -> Path:
    values = np.random.default_rng(len(path.stem)).integers(0, 200, shape).astype(dtype)
    affine = AFFINE.copy()
    affine[0, 3] = shift
    image = nibabel.Nifti1Image(values, affine)
    image.header.set_slope_inter(*scaling)
    nibabel.save(image, path)
    return path


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return [save(tmp_path / f"{name}.nii", *kind) for name, kind in KINDS.items()]


def test_in_the_order_given_and_as_monai_stacks_them(files: list[Path]) -> None:
    for order in (files, files[::-1]):
        volume = open_volume(order)
        expected = LoadImage(image_only=True, ensure_channel_first=True)(order)
        assert volume.shape == (3, 9, 8, 7)
        torch.testing.assert_close(volume.gather(torch.tensor([[4, 4, 3]]), (9, 8, 7))[0], expected.as_tensor())
        np.testing.assert_allclose(volume.affine, expected.affine)
        assert volume.key == "; ".join(map(str, order))


def test_each_channel_is_what_its_file_alone_gives(files: list[Path]) -> None:
    sampling = Sampling(np.diag([0.7, 0.8, 0.6, 1]), (12, 10, 11))
    centres = torch.randint(-5, 15, (60, 3))
    found = pickle.loads(pickle.dumps(open_volume(files).sampled(sampling))).gather(centres, 4)
    for channel, path in enumerate(files):
        torch.testing.assert_close(found[:, [channel]], open_volume(path).sampled(sampling).gather(centres, 4))


def test_equal_types_stay_stored(files: list[Path]) -> None:
    assert open_volume([files[0], files[0]]).source.dtype == np.int16
    assert open_volume(files).source.dtype == np.float32


def test_open_volumes_and_arrays() -> None:
    a, b = torch.rand(2, 1, 5, 4, 3)
    volume = open_volume([open_volume(a), b.numpy()])
    assert volume.key is None
    assert torch.equal(volume.gather(torch.tensor([[2, 2, 1]]), (5, 4, 3))[0], torch.cat([a, b]))


def test_refused(files: list[Path], tmp_path: Path) -> None:
    flat = save(tmp_path / "flat.nii", "<i2", (1, 0), (9, 8, 6))
    with pytest.raises(ValueError, match=r"flair.nii and .*flat.nii cannot.*\(9, 8, 7\) and \(9, 8, 6\)"):
        open_volume([files[0], flat])
    moved = save(tmp_path / "moved.nii", "<i2", (1, 0), shift=0.4)
    with pytest.raises(ValueError, match=r"flair.nii and .*moved.nii cannot.*up to 0.5 voxels apart"):
        open_volume([files[0], moved])
    with pytest.raises(ValueError, match="empty list"):
        open_volume([])
    with pytest.raises(ValueError, match="join the channels first"):
        open_volume([open_volume(files[0]).scaled(torch.square), files[1]])


def test_four_modalities_of_one_brain(real_data: Path, tmp_path: Path) -> None:
    files = sorted((real_data / "brain_openms_4mod" / "patient07").glob("*.nii.gz"))
    volume = open_volume(files, cache_dir=tmp_path)
    expected = LoadImage(image_only=True, ensure_channel_first=True)(files)
    centre = torch.tensor(volume.shape[1:]) // 2
    low = centre - 10
    window = tuple(slice(a, a + 20) for a in low.tolist())
    assert torch.equal(volume.gather(centre[None], 20)[0], expected.as_tensor()[(slice(None), *window)].float())
