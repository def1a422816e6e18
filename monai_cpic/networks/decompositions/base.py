"""What a decomposition is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn

from monai_cpic.data import Volume
from monai_cpic.networks.latent_field import LatentField
from monai_cpic.tensor_train import TensorTrain

__all__ = ["Decomposition"]


class Decomposition(nn.Module, ABC):
    """From latent fields to tensor trains: which points of a field are encoded, and what is made of their vectors.

    A new decomposition sets the four attributes and computes :meth:`forward`; it reads nothing but the field that it is given.
    :class:`~monai_cpic.testing.DecompositionTestCase` tests one of your own.

    Attributes:
        spatial_shape: the grid, ``D`` sizes.
        n_dims: channels of the latent field.
        mode_sizes: of the tensor trains that it makes.
        ranks: of their bonds, ``len(mode_sizes) + 1`` numbers, the first and the last 1.
    """

    spatial_shape: tuple[int, ...]
    n_dims: int
    mode_sizes: Sequence[int]
    ranks: Sequence[int]

    @abstractmethod
    def forward(self, field: LatentField, step: int | None) -> TensorTrain:
        """Tensor trains of ``B`` latent fields, float64, on the CPU; differentiable through the field's values.

        Args:
            field: the fields; values by :meth:`~monai_cpic.networks.LatentField.at` or by calling it.
            step: number of the training step.  None in evaluation, where the points must depend on nothing but the field.
        """

    def planned(self, volume: Volume) -> Tensor | None:
        """Grid points, int64 ``[N, D]``, that the next training step will ask of a volume; None if they are not known before."""
        return None
