"""Whatever a header says: the scan is refused by name, or read as another program reads it."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path

import nibabel
import numpy as np
import torch
from header_strategies import metaimage_files, nifti_files, npy_files
from hypothesis import given, settings
from numpy.typing import NDArray

from monai_cpic.data import LazyVolume, open_volume


def opened(folder: str, name: str, content: bytes) -> tuple[Path, LazyVolume | None, NDArray[np.float32] | None]:
    """The file, its volume and its voxels; None if they are refused with the name of the file."""
    path = Path(folder) / name
    path.write_bytes(content)
    volume = None
    try:
        volume = open_volume(path, cache_dir=Path(folder) / "cache")
        shape = torch.tensor(volume.shape[1:])
        return path, volume, volume.gather(shape[None] // 2, shape.tolist())[0].numpy()
    except ValueError as error:
        assert str(path) in str(error)
        return path, volume, None


@settings(max_examples=60, deadline=None)
@given(nifti_files())
def test_nifti(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path, volume, found = opened(folder, "scan.nii", content)
        if volume is not None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of numpy, about overflow
                image = nibabel.Nifti1Image.from_filename(path)
                expected = np.asarray(image.dataobj).astype(np.float32).reshape(volume.shape)
            axes = [*range(len(volume.shape) - 1), 3]
            np.testing.assert_array_equal(volume.affine, image.affine[np.ix_(axes, axes)])
            if found is None:
                assert not np.isfinite(expected).all()
            else:
                np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * float(np.abs(expected).max()))


@settings(max_examples=40, deadline=None)
@given(metaimage_files())
def test_metaimage(made: tuple[bytes, NDArray[np.float32] | None]) -> None:
    content, expected = made
    with tempfile.TemporaryDirectory() as folder:
        _, _, found = opened(folder, "scan.mha", content)
        assert (found is None) == (expected is None)
        if found is not None and expected is not None:
            np.testing.assert_array_equal(found, expected.astype(np.float32))


@settings(max_examples=60, deadline=None)
@given(npy_files())
def test_npy(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path, _, found = opened(folder, "scan.npy", content)
        if found is not None:
            np.testing.assert_array_equal(found, np.load(path).astype(np.float32))
