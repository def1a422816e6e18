"""Procedural volumes against arrays of the same values."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from monai_cpic.data import Sampling, open_function, open_volume

SHAPE = (2, 9, 8, 7)


def waves(x: NDArray, y: NDArray, z: NDArray) -> NDArray:
    """Two channels."""
    return np.stack(np.broadcast_arrays(np.sin(x) * y + z, np.cos(z) - x * y))


def turned() -> NDArray:
    matrix = np.eye(4)
    matrix[:3] = [[0.8, -0.3, 0, 2], [0.3, 0.8, 0, -1], [0, 0, 0.6, 1]]
    return matrix


@pytest.mark.parametrize("matrix", [np.eye(4), np.diag([0.5, 1.5, -1.0, 1.0]), turned()], ids=["stored", "zoomed", "turned"])
@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_as_the_array_of_its_values(matrix: NDArray, mode: str) -> None:
    sampling = Sampling(matrix, (9, 8, 7), mode)
    values = waves(*np.ogrid[:9, :8, :7])
    centres = torch.randint(-6, 15, (100, 3))
    found = open_function(waves, SHAPE).sampled(sampling).gather(centres, (4, 3, 5))
    assert torch.equal(found, open_volume(values).sampled(sampling).gather(centres, (4, 3, 5)))


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
