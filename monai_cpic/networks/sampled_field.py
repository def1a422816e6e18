"""What a decomposition found out about a batch of latent fields."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from monai_cpic.tensor_train import TensorTrain

__all__ = ["SampledField"]


@dataclass(frozen=True)
class SampledField:
    """``B`` latent fields as projections and readouts see them, float64, on the device of the encoder.

    Means and maxima are differentiable; the tensor trains are unless a decomposition says otherwise.

    Attributes:
        trains: the fields as tensor trains.
        means: of each channel, ``[B, n_dims]``, the best estimate from the points that were encoded: over the volume if they are
            those of a scan, over the whole grid with its padding if they are those of the tensor trains.
        maxima: of each channel over the points that were encoded, ``[B, n_dims]``.
        scan: vectors at points that are spread evenly over the grid, as tensor trains of a single mode, for readouts that are
            linear in the field; ``trains`` where a decomposition has no scan.
        coarse: the whole scans at low resolution (:func:`~monai_cpic.networks.coarse_scan`), for readouts that need them.
    """

    trains: TensorTrain
    means: Tensor
    maxima: Tensor
    scan: TensorTrain
    coarse: Tensor | None = None

    def __len__(self) -> int:
        return len(self.trains)

    def __getitem__(self, index: slice | Sequence[int] | Tensor) -> SampledField:
        """Some of the fields."""
        coarse = None if self.coarse is None else self.coarse[index]
        return SampledField(self.trains[index], self.means[index], self.maxima[index], self.scan[index], coarse)

    @staticmethod
    def cat(parts: Sequence[SampledField]) -> SampledField:
        """The fields of all parts."""
        coarse = [part.coarse for part in parts if part.coarse is not None]
        return SampledField(
            TensorTrain.cat([part.trains for part in parts]),
            torch.cat([part.means for part in parts]),
            torch.cat([part.maxima for part in parts]),
            TensorTrain.cat([part.scan for part in parts]),
            torch.cat(coarse) if coarse else None,
        )
