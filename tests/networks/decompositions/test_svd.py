"""TT-SVD of latent fields."""

from __future__ import annotations

import torch

from monai_cpic.data import open_volume
from monai_cpic.networks import TTSVD
from monai_cpic.tensor_train import qtt_modes
from monai_cpic.testing import DecompositionTestCase


class TestTTSVD(DecompositionTestCase):
    def decomposition(self) -> TTSVD:
        return TTSVD(qtt_modes((8, 6, 4), channels=3), rank=5)

    def test_fields_of_one_value_have_finite_gradients(self) -> None:
        """Values only: a singular value decomposition has no derivative where singular values are equal."""
        decomposition = self.decomposition()
        for value in (0.0, 1.0):
            constant = open_volume(torch.full((1, *decomposition.spatial_shape), value))
            found = decomposition(self.field(decomposition, [constant]), 1)
            assert torch.allclose(found.trains.to_dense().amax(), torch.tensor(2 * value).double())
