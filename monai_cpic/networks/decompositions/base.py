"""The interface of decompositions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from monai_cpic.data import Volume
from monai_cpic.networks.latent_field import LatentField
from monai_cpic.networks.sampled_field import SampledField
from monai_cpic.tensor_train import Mode, TensorTrain, bond_ranks, grid_shape, mode_sizes, modes_on

__all__ = ["Decomposition", "TensorizedDecomposition"]


class Decomposition(nn.Module, ABC):
    """From latent fields to tensor trains: which points of a field are encoded, and how their vectors become a tensor train.

    A new decomposition sets the five attributes and implements :meth:`forward`, which reads nothing but the given field.
    Derive its tests from :class:`~monai_cpic.testing.DecompositionTestCase`.

    Attributes:
        spatial_shape: the grid, ``D`` sizes.
        n_dims: channels of the latent field.
        mode_sizes: mode sizes of the resulting tensor trains.
        ranks: largest bond ranks of the resulting tensor trains, ``len(mode_sizes) + 1`` numbers, the first and the last 1.
        scan_sizes: mode sizes of the scan, see :class:`~monai_cpic.networks.SampledField`.
    """

    spatial_shape: tuple[int, ...]
    n_dims: int
    mode_sizes: Sequence[int]
    ranks: Sequence[int]
    scan_sizes: Sequence[int]

    @abstractmethod
    def forward(self, field: LatentField, step: int | None) -> SampledField:
        """What projections and readouts see of ``B`` latent fields; differentiable through the field's values.

        Args:
            field: the fields; call :meth:`~monai_cpic.networks.LatentField.at` for latent vectors, or the field itself for single
                values.
            step: number of the training step; None in evaluation, where the points must depend on the field alone.
        """

    def repeats(self, step: int | None) -> bool:
        """Whether the points of a step come again in later ones, as those of an evaluation do.

        What an encoder that does not learn makes of them is then worth keeping (:class:`~monai_cpic.networks.FrozenEncoder`).
        """
        return step is None

    def planned(self, volume: Volume) -> Tensor | None:
        """Grid points, int64 ``[N, D]``, that the next training step will encode of a volume; None if they are not known yet."""
        return None


class TensorizedDecomposition(Decomposition):
    """A decomposition whose tensor trains have the modes of a tensorized grid.

    Args:
        modes: the tensorization of grid and channels, :func:`~monai_cpic.tensor_train.qtt_modes` or
            :func:`~monai_cpic.tensor_train.tt_modes` of ``(spatial_shape, n_dims)``.
        rank: bond rank of the tensor trains.

    Raises:
        ValueError: if ``rank`` is below 1.
    """

    def __init__(self, modes: Sequence[Mode], rank: int) -> None:
        super().__init__()
        if rank < 1:
            raise ValueError(f"rank must be at least 1, got {rank}")
        self.modes = list(modes)
        *spatial_shape, self.n_dims = grid_shape(self.modes)
        self.spatial_shape = tuple(spatial_shape)
        self.mode_sizes = self.scan_sizes = mode_sizes(self.modes)
        self.ranks = bond_ranks(self.mode_sizes, rank)
        self.rank = rank

    def modes_of(self, field: LatentField) -> tuple[Mode, ...]:
        """The modes on the device of a field."""
        return modes_on(tuple(self.modes), field.device)

    def channel_means(self, trains: TensorTrain) -> Tensor:
        """The mean of each channel of tensor trains over the grid, ``[B, n_dims]``."""
        *cores, last = trains
        row = last.new_ones(len(trains), 1, 1)
        for core in cores:
            row = row @ core.mean(2)
        channels = last.squeeze(3).unflatten(2, (-1, self.n_dims)).mean(2)
        return torch.einsum("bij,bjn->bn", row, channels)
