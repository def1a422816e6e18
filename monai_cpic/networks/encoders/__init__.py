"""Encoders: from the patch of voxels around a grid point to the point's latent vector."""

from monai_cpic.networks.encoders.base import Encoder
from monai_cpic.networks.encoders.frozen import FrozenEncoder
from monai_cpic.networks.encoders.module import ModuleEncoder
from monai_cpic.networks.encoders.patch import PatchEncoder
from monai_cpic.networks.encoders.pooled import PooledEncoder
from monai_cpic.networks.encoders.positioned import PositionedEncoder
from monai_cpic.networks.encoders.voxel import VoxelEncoder

__all__ = ["Encoder", "FrozenEncoder", "ModuleEncoder", "PatchEncoder", "PooledEncoder", "PositionedEncoder", "VoxelEncoder"]
