"""Differentiable cross-approximation of tensor trains.  Pure torch: nothing here knows of images, files or MONAI."""

from monai_cpic.tensor_train.cross import CrossIndices, Field, cross_approximate, initial_indices, interpolate
from monai_cpic.tensor_train.modes import Mode, coordinates, mode_sizes, qtt_modes, tt_modes
from monai_cpic.tensor_train.pivots import select_rows
from monai_cpic.tensor_train.tensor_train import TensorTrain, bond_ranks

__all__ = [
    "CrossIndices",
    "Field",
    "Mode",
    "TensorTrain",
    "bond_ranks",
    "coordinates",
    "cross_approximate",
    "initial_indices",
    "interpolate",
    "mode_sizes",
    "qtt_modes",
    "select_rows",
    "tt_modes",
]
