"""Torch modules on tensor trains and lazy volumes."""

from monai_cpic.networks.blocks import IndexStore, LatentField, PatchEncoder, TTBottleneck, TTProjection, TwoBranchHead
from monai_cpic.networks.nets import CovariatesOnlyNet, CPICNet

__all__ = [
    "CPICNet",
    "CovariatesOnlyNet",
    "IndexStore",
    "LatentField",
    "PatchEncoder",
    "TTBottleneck",
    "TTProjection",
    "TwoBranchHead",
]
