"""A volume against a dense array of the same values."""

from __future__ import annotations

import multiprocessing
import pickle
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from monai_cpic.data import LazyVolume, Sampling, open_volume
from monai_cpic.testing.dense import dense_patches, points_around

__all__ = ["VolumeTestCase"]

PATCH = (4, 3, 5)
TURNED = np.array([[0.8, -0.3, 0, 2], [0.3, 0.8, 0, -1], [0, 0, 0.6, 1], [0, 0, 0, 1]])


class VolumeTestCase(ABC):
    """Tests that every 3-D volume passes: values anywhere, affine, dtype, other grids, pickling, forked processes.

    Derive a class whose name begins with ``Test`` and implement :meth:`make`.  Override the attributes if your volumes have
    several channels or an affine, and the fixture ``dtype`` for the dtypes that they store.

    Attributes:
        shape: ``(C, X, Y, Z)`` of the volume to make.
        affine: ``[4, 4]``, from voxel indices to RAS millimetres.
        pickled_bytes: the largest size of a pickled handle; None if the voxels are in memory.

    Example:
        >>> class TestArray(VolumeTestCase):
        ...     pickled_bytes = None
        ...
        ...     def make(self, values, folder):
        ...         return open_volume(values)
    """

    shape: tuple[int, int, int, int] = (1, 7, 6, 5)
    affine: NDArray[Any] = np.eye(4)
    pickled_bytes: int | None = 4000

    @abstractmethod
    def make(self, values: NDArray[Any], folder: Path) -> LazyVolume:
        """The volume under test.

        Args:
            values: ``[C, X, Y, Z]`` that it must have.
            folder: an empty folder, for files.
        """

    @pytest.fixture(params=["<i2"])
    def dtype(self, request: pytest.FixtureRequest) -> np.dtype[Any]:
        """The stored dtype; override the fixture with other ``params`` to test several."""
        name: str = request.param
        return np.dtype(name)

    @pytest.fixture
    def values(self, dtype: np.dtype[Any]) -> NDArray[Any]:
        """The voxels: whole numbers that every dtype holds."""
        return np.random.default_rng(0).integers(0, 2 if dtype.kind == "b" else 120, self.shape).astype(dtype)

    @pytest.fixture
    def dense(self, values: NDArray[Any]) -> torch.Tensor:
        """The voxels as the volume must give them."""
        return torch.from_numpy(values.astype(np.float32))

    @pytest.fixture
    def folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """An empty folder; what readers unpack goes to a cache folder beside it."""
        monkeypatch.setenv("MONAI_CPIC_CACHE", str(tmp_path / "cache"))
        folder = tmp_path / "scans"
        folder.mkdir()
        return folder

    @pytest.fixture
    def volume(self, values: NDArray[Any], folder: Path) -> LazyVolume:
        """The volume under test."""
        return self.make(values, folder)

    def test_shape_and_dtype(self, volume: LazyVolume, dtype: np.dtype[Any]) -> None:
        assert volume.shape == self.shape
        assert volume.source.shape == self.shape
        assert volume.source.dtype.newbyteorder("=") == dtype.newbyteorder("=")

    def test_affine(self, volume: LazyVolume) -> None:
        assert volume.affine.dtype == torch.float64
        np.testing.assert_allclose(volume.affine, self.affine, atol=1e-5)

    @pytest.mark.parametrize("precision", [torch.float32, torch.float64])
    def test_patches_anywhere(self, volume: LazyVolume, dense: torch.Tensor, precision: torch.dtype) -> None:
        centres = points_around(self.shape)
        patches = volume.gather(centres, PATCH, dtype=precision)
        assert patches.dtype == precision
        assert torch.equal(patches.float(), dense_patches(dense, centres, PATCH))

    def test_a_patch_larger_than_the_volume(self, volume: LazyVolume, dense: torch.Tensor) -> None:
        centre, size = torch.tensor([[3, 3, 2]]), [n + 4 for n in self.shape[1:]]
        assert torch.equal(volume.gather(centre, size), dense_patches(dense, centre, size))

    def test_steps_join_patches_of_coarser_volumes(self, volume: LazyVolume) -> None:
        centres = points_around(self.shape)
        patches = volume.gather(centres, PATCH, steps=(1, 2))
        near, far = patches.chunk(2, 1)
        assert torch.equal(near, volume.gather(centres, PATCH))
        coarser = volume.coarser(2)
        factors = (coarser.affine.norm(dim=0) / volume.affine.norm(dim=0))[:-1].round().long()
        assert torch.equal(far, coarser.gather(centres.div(factors, rounding_mode="floor"), PATCH))

    def test_no_patches(self, volume: LazyVolume) -> None:
        assert volume.gather(torch.zeros(0, 3, dtype=torch.int64), PATCH).shape == (0, self.shape[0], *PATCH)

    @pytest.mark.parametrize("mode", ["bilinear", "nearest"])
    @pytest.mark.parametrize("matrix", [np.diag([0.5, 1.5, -1.0, 1.0]), TURNED], ids=["zoomed", "turned"])
    def test_other_grids(self, volume: LazyVolume, dense: torch.Tensor, matrix: NDArray[Any], mode: str) -> None:
        sampling = Sampling(matrix, self.shape[1:], mode)
        centres = points_around(self.shape)
        expected = open_volume(dense).sampled(sampling).gather(centres, PATCH)
        torch.testing.assert_close(volume.sampled(sampling).gather(centres, PATCH), expected)

    def test_pickled(self, volume: LazyVolume, dense: torch.Tensor) -> None:
        volume.gather(points_around(self.shape), PATCH, steps=(1, 2))  # what it has opened must not hinder it
        pickled = pickle.dumps(volume)
        assert self.pickled_bytes is None or len(pickled) <= self.pickled_bytes
        centres = points_around(self.shape)
        assert torch.equal(pickle.loads(pickled).gather(centres, PATCH), dense_patches(dense, centres, PATCH))

    @pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="the system cannot fork")
    def test_in_a_forked_process(self, volume: LazyVolume, dense: torch.Tensor) -> None:
        centres = points_around(self.shape)
        volume.gather(centres, PATCH)  # the child inherits what is open
        context = multiprocessing.get_context("fork")
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=_send_patches, args=(volume, centres, sender))
        process.start()
        sender.close()
        try:
            assert receiver.poll(30), "the forked process does not answer"
            np.testing.assert_array_equal(receiver.recv(), dense_patches(dense, centres, PATCH))
        finally:
            process.kill()
            process.join()


def _send_patches(volume: LazyVolume, centres: torch.Tensor, sender: Any) -> None:
    sender.send(volume.gather(centres, PATCH).numpy())
