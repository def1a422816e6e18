"""Means in halves of the grid, against slices."""

from __future__ import annotations

import itertools

import pytest
import torch

from monai_cpic.networks import OctantMeans, SampledField
from monai_cpic.tensor_train import TensorTrain
from monai_cpic.testing import ProjectionTestCase

CELLS = {"an octree": (4, 2, 4), "a thin axis": (4, 4, 1), "two axes": (2, 4)}


class TestOctantMeans(ProjectionTestCase):
    scan_sizes = (24,)

    def projection(self) -> OctantMeans:
        return OctantMeans((2, 4, 1), self.n_dims)


@pytest.mark.parametrize("cells", CELLS.values(), ids=CELLS)
def test_features_are_the_means_of_the_halves_of_each_axis(cells: tuple[int, ...]) -> None:
    vectors = torch.rand(5, *cells, 3).double()
    scan = TensorTrain([vectors.reshape(5, 1, -1, 1)])
    projection = OctantMeans(cells, 3)
    raw = projection.raw(SampledField(scan, torch.zeros(5, 3), torch.zeros(5, 3), scan))
    halves = [[slice(0, n // 2), slice(n // 2, n)] if n > 1 else [slice(None)] for n in cells]
    expected = [vectors[(slice(None), *half)].flatten(1, -2).mean(1) for half in itertools.product(*halves)]  # [5, 3] each
    torch.testing.assert_close(raw, torch.stack(expected, 2).flatten(1))
    assert projection.features == raw.shape[1]
