"""Whole networks."""

from monai_cpic.networks.nets.covariates_only import CovariatesOnlyNet
from monai_cpic.networks.nets.cpic import CPICNet
from monai_cpic.networks.nets.densenet import DenseNetRegressor
from monai_cpic.networks.nets.ensemble import Ensemble
from monai_cpic.networks.nets.mil import MILRegressor
from monai_cpic.networks.nets.presets import paper_net, random_cells_net
from monai_cpic.networks.nets.resnet import ResNetRegressor
from monai_cpic.networks.nets.volume_regressor import VolumeRegressor
from monai_cpic.networks.nets.whole_grid import WholeGridRegressor

__all__ = [
    "CPICNet",
    "CovariatesOnlyNet",
    "DenseNetRegressor",
    "Ensemble",
    "MILRegressor",
    "ResNetRegressor",
    "VolumeRegressor",
    "WholeGridRegressor",
    "paper_net",
    "random_cells_net",
]
