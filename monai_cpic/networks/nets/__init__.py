"""Whole networks."""

from monai_cpic.networks.nets.covariates_only import CovariatesOnlyNet
from monai_cpic.networks.nets.cpic import CPICNet

__all__ = ["CPICNet", "CovariatesOnlyNet"]
