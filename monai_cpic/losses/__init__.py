"""Losses that MONAI does not have."""

from monai_cpic.losses.censored import CensoredMSELoss
from monai_cpic.losses.joint import JointMean
from monai_cpic.losses.pinball import PinballLoss
from monai_cpic.losses.quantile_rate import QuantileRateLoss

__all__ = ["CensoredMSELoss", "JointMean", "PinballLoss", "QuantileRateLoss"]
