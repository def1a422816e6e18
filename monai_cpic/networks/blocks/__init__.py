"""Building blocks: encoders, tensor-train bottleneck, projection and head."""

from monai_cpic.networks.blocks.channel_means import ChannelMeans
from monai_cpic.networks.blocks.grid import check_volume
from monai_cpic.networks.blocks.index_store import IndexStore
from monai_cpic.networks.blocks.latent_field import LatentField
from monai_cpic.networks.blocks.patch_encoder import PatchEncoder
from monai_cpic.networks.blocks.pooled_encoder import PooledEncoder
from monai_cpic.networks.blocks.ridge_readout import RidgeReadout
from monai_cpic.networks.blocks.stacked_readout import StackedReadout
from monai_cpic.networks.blocks.tt_bottleneck import TTBottleneck
from monai_cpic.networks.blocks.tt_projection import TTProjection
from monai_cpic.networks.blocks.two_branch_head import TwoBranchHead
from monai_cpic.networks.blocks.voxel_encoder import VoxelEncoder

__all__ = [
    "ChannelMeans",
    "IndexStore",
    "LatentField",
    "PatchEncoder",
    "PooledEncoder",
    "RidgeReadout",
    "StackedReadout",
    "TTBottleneck",
    "TTProjection",
    "TwoBranchHead",
    "VoxelEncoder",
    "check_volume",
]
