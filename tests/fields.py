"""Sampled fields of which a test sets some parts."""

from __future__ import annotations

from torch import Tensor

from monai_cpic.networks import SampledField
from monai_cpic.tensor_train import TensorTrain


def sampled(trains: TensorTrain, means: Tensor | None = None, maxima: Tensor | None = None) -> SampledField:
    """Tensor trains that are the scan too; means and maxima that are not given are zeros of a single channel."""
    zeros = trains.cores[0].new_zeros(len(trains), 1)
    return SampledField(trains, zeros if means is None else means, zeros if maxima is None else maxima, scan=trains)
