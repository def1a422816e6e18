"""Differentiable cross-approximation of tensor trains, in pure torch, without images, files or MONAI."""

from monai_cpic.tensor_train.als import als_completion, degrees_of_freedom
from monai_cpic.tensor_train.convergence import SweepRecord
from monai_cpic.tensor_train.cross import cross_approximate
from monai_cpic.tensor_train.field import Field, Memory
from monai_cpic.tensor_train.indices import CrossIndices, initial_indices
from monai_cpic.tensor_train.interpolation import interpolate
from monai_cpic.tensor_train.modes import (
    Mode,
    coordinates,
    flat_index,
    grid_shape,
    mode_sizes,
    modes_on,
    multi_indices,
    qtt_modes,
    tt_modes,
)
from monai_cpic.tensor_train.pivots import select_rows
from monai_cpic.tensor_train.sweep import Sweep
from monai_cpic.tensor_train.tensor_train import TensorTrain, bond_ranks

__all__ = [
    "CrossIndices",
    "Field",
    "Memory",
    "Mode",
    "Sweep",
    "SweepRecord",
    "TensorTrain",
    "als_completion",
    "bond_ranks",
    "coordinates",
    "cross_approximate",
    "degrees_of_freedom",
    "flat_index",
    "grid_shape",
    "initial_indices",
    "interpolate",
    "mode_sizes",
    "modes_on",
    "multi_indices",
    "qtt_modes",
    "select_rows",
    "tt_modes",
]
