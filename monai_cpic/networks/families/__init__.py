"""Families of targets: what outputs mean, which loss trains them, and how a linear score becomes outputs."""

from monai_cpic.networks.families.affine import AffineFamily
from monai_cpic.networks.families.base import Family
from monai_cpic.networks.families.classes import ClassFamily
from monai_cpic.networks.families.hazards import HazardFamily
from monai_cpic.networks.families.quantiles import QuantileFamily

__all__ = ["AffineFamily", "ClassFamily", "Family", "HazardFamily", "QuantileFamily"]
