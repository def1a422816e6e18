"""Procedural volumes against arrays of the same values."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from monai_cpic.data import LazyVolume, open_function
from monai_cpic.testing import VolumeTestCase

SHAPE = (2, 9, 8, 7)


def waves(x: NDArray[Any], y: NDArray[Any], z: NDArray[Any]) -> NDArray[Any]:
    """Two channels."""
    return np.stack(np.broadcast_arrays(np.sin(x) * y + z, np.cos(z) - x * y))


@dataclass(frozen=True)
class Lookup:
    """A function that looks values up."""

    values: NDArray[Any]

    def __call__(self, *indices: NDArray[Any]) -> NDArray[Any]:
        key: tuple[slice | NDArray[Any], ...] = (slice(None), *np.broadcast_arrays(*indices))
        return self.values[key]


class TestFunction(VolumeTestCase):
    shape = (2, 9, 8, 7)
    affine = np.diag([0.1, 0.2, 0.3, 1.0])
    pickled_bytes = None

    def make(self, values: NDArray[Any], folder: Path) -> LazyVolume:
        return open_function(Lookup(values), values.shape, torch.from_numpy(self.affine))


def test_a_volume_beyond_any_disk() -> None:
    volume = open_function(waves, (2, 8192, 8192, 8192), torch.diag(torch.tensor([0.1, 0.1, 0.1, 1])))
    centres = torch.randint(0, 8192, (50, 3))
    expected = torch.from_numpy(waves(*centres.T.numpy())).T.float()
    assert torch.equal(volume.gather(centres, 1)[..., 0, 0, 0], expected)
    assert volume.affine[0, 0] == pytest.approx(0.1)


def test_pickled_with_its_function() -> None:
    volume = pickle.loads(pickle.dumps(open_function(waves, SHAPE)))
    assert volume.source.function is waves


def test_refused_functions() -> None:
    with pytest.raises(ValueError, match=r"shape \(1, 5\)"):
        open_function(waves, (1, 5))
    with pytest.raises(ValueError, match="cannot be a volume of shape"):
        open_function(waves, (3, 9, 8, 7))
    with pytest.raises(ValueError, match="cannot be a volume of shape"):
        open_function(waves, (1, 9, 8))
    with pytest.raises(ValueError, match="real numbers"):
        open_function(lambda x, y: x + 1j * y, (1, 9, 8))
