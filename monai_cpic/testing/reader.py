"""A reader against the files that another program writes."""

from __future__ import annotations

import os
import re
import shutil
from abc import abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from monai_cpic.data import LazyVolume, open_volume
from monai_cpic.testing.dense import dense_patches, dense_steps, points_around
from monai_cpic.testing.volume import VolumeTestCase

__all__ = ["ReaderTestCase"]


class ReaderTestCase(VolumeTestCase):
    """Tests that every reader of 3-D volumes on disk passes: those of a volume, and broken files.

    Derive a class whose name begins with ``Test`` and implement :meth:`write`, by another program than the reader if there is
    one.  Override :meth:`open` if :func:`~monai_cpic.data.open_volume` does not know your reader, and :meth:`truncate` if a
    volume is not a single file.

    Example:
        >>> class TestNpy(ReaderTestCase):
        ...     def write(self, values, folder):
        ...         np.save(folder / "scan.npy", values)
        ...         return folder / "scan.npy"
    """

    @abstractmethod
    def write(self, values: NDArray[Any], folder: Path) -> Path:
        """Write a volume with the affine :attr:`affine`.

        Args:
            values: ``[C, X, Y, Z]``.
            folder: an empty folder.

        Returns:
            the file or folder to open, in ``folder``.
        """

    def open(self, path: Path) -> LazyVolume:
        """Open what :meth:`write` has written."""
        return open_volume(path)

    def truncate(self, path: Path) -> Path:
        """Shorten a file of the volume; returns the file."""
        os.truncate(path, path.stat().st_size - 16)
        return path

    def make(self, values: NDArray[Any], folder: Path) -> LazyVolume:
        return self.open(self.write(values, folder))

    @pytest.fixture
    def path(self, values: NDArray[Any], folder: Path) -> Path:
        """A volume on disk that has not been opened yet."""
        return self.write(values, folder)

    def test_the_key_is_the_path(self, path: Path) -> None:
        assert self.open(path).key == str(path)

    def test_opened_again(self, path: Path, dense: torch.Tensor) -> None:
        centres = torch.tensor([[3, 3, 2]])
        for _ in range(2):
            assert torch.equal(self.open(path).gather(centres, 3), dense_patches(dense, centres, (3, 3, 3)))

    def test_near_and_far(self, path: Path, dense: torch.Tensor) -> None:
        """Means over blocks, in a volume that is opened for the first time and again; a patch is larger than the volume."""
        centres, steps = points_around(self.shape), (1, 2, 4)
        spacing = np.linalg.norm(self.affine[:-1, :-1], axis=0).tolist()
        expected = dense_steps(dense, centres, (3, 4, 5), steps, spacing).float()
        for _ in range(2):
            patches = self.open(path).gather(centres, (3, 4, 5), steps=steps)
            torch.testing.assert_close(patches, expected, rtol=0, atol=1e-5 * float(dense.max() - dense.min()))

    def test_relative_paths_outlive_the_working_directory(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(path.parent)
        volume = self.open(Path(path.name))
        monkeypatch.chdir("/")
        assert volume.key == str(path)
        assert volume.gather(torch.zeros(1, 3, dtype=torch.int64), 2).shape == (1, self.shape[0], 2, 2, 2)

    def test_a_missing_file_is_named(self, path: Path) -> None:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
        with pytest.raises(FileNotFoundError, match=re.escape(str(path))):
            self.open(path)

    def test_a_truncated_file_is_named(self, path: Path) -> None:
        file = self.truncate(path)
        centre, size = torch.tensor([[n // 2 for n in self.shape[1:]]]), self.shape[1:]
        with pytest.raises(ValueError, match=re.escape(file.name)):
            self.open(path).gather(centre, size)

    def test_files_that_differ_are_not_confused(self, values: NDArray[Any], path: Path, tmp_path: Path) -> None:
        centre, size = torch.tensor([[n // 2 for n in self.shape[1:]]]), self.shape[1:]
        self.open(path).gather(centre, size)
        (tmp_path / "other").mkdir()
        flipped = values[:, ::-1, :, ::-1].copy()
        other = self.open(self.write(flipped, tmp_path / "other"))
        np.testing.assert_array_equal(other.gather(centre, size)[0], flipped.astype(np.float32))
