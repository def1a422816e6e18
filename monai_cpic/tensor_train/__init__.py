"""Differentiable cross-approximation of tensor trains.  Pure torch: nothing here knows of images, files or MONAI."""

from monai_cpic.tensor_train.completion import complete, parameters
from monai_cpic.tensor_train.cross import cross_approximate
from monai_cpic.tensor_train.field import Field, Memory
from monai_cpic.tensor_train.indices import CrossIndices, initial_indices
from monai_cpic.tensor_train.interpolation import interpolate
from monai_cpic.tensor_train.modes import Mode, coordinates, flat_index, grid_shape, mode_sizes, qtt_modes, tt_modes
from monai_cpic.tensor_train.pivots import select_rows
from monai_cpic.tensor_train.tensor_train import TensorTrain, bond_ranks
from monai_cpic.tensor_train.watch import PassRecord

__all__ = [
    "CrossIndices",
    "Field",
    "Memory",
    "Mode",
    "PassRecord",
    "TensorTrain",
    "bond_ranks",
    "complete",
    "coordinates",
    "cross_approximate",
    "flat_index",
    "grid_shape",
    "initial_indices",
    "interpolate",
    "mode_sizes",
    "parameters",
    "qtt_modes",
    "select_rows",
    "tt_modes",
]
