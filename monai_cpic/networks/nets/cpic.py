"""C-PIC: regression from whole volumes through a tensor-train bottleneck."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from monai_cpic.data import LazyVolume
from monai_cpic.networks.bottleneck import TTBottleneck
from monai_cpic.networks.decompositions import IndexStore
from monai_cpic.networks.encoders import PatchEncoder, PooledEncoder, VoxelEncoder
from monai_cpic.networks.nets.volume_regressor import VolumeRegressor
from monai_cpic.networks.projections import ChannelMeans, TTProjection
from monai_cpic.networks.readouts import RidgeReadout, StackedReadout, TwoBranchHead
from monai_cpic.tensor_train import TensorTrain

__all__ = ["CPICNet"]


class CPICNet(VolumeRegressor):
    """Encoder at chosen voxels → tensor train → canonical features → head (paper, section 3.1 and figure 2).

    Args:
        spatial_shape: the grid, ``D`` sizes; volumes may be smaller (virtual padding), not larger.  Powers of two cost least.
        in_channels: channels of the volumes.
        out_channels: number of outputs.
        n_dims: channels of the latent field.
        rank: bond rank of the tensor trains and number of canonical features.
        covariates: number of covariates given beside each volume.
        decomposition: ``"cross"``, ``"svd"`` for the exact decomposition of small grids, or ``"stratified"`` for a field of one
            random point in each of at most ``cells`` cells, see :class:`~monai_cpic.networks.TTBottleneck`.
        projection: ``"canonical"`` for ``rank`` features, see :class:`~monai_cpic.networks.TTProjection`, or ``"means"`` for the
            mean of each channel, see :class:`~monai_cpic.networks.ChannelMeans`.
        tensorization: ``"qtt"`` or ``"tt"``.
        oversampling: rows per bond in units of ``rank``; 1 is the paper's plain cross.
        passes: passes of a cold start.
        indices: where the next training step of each volume starts; default: an :class:`~monai_cpic.networks.IndexStore` in
            memory.
        index_batching: bound the memory of a training step, see :class:`~monai_cpic.networks.TTBottleneck`.
        cells: most cells of ``"stratified"``.
        readout: ``"head"``, or ``"ridge"``: the head teaches the encoder, and predictions come from a ridge regression on the
            tensor trains and covariates that is fitted to the trained encoder, see
            :class:`~monai_cpic.networks.RidgeReadout`; until then from the head.  For targets of which squared errors count, and
            few scans or epochs: long training fits an encoder to its scans, and the head is then the safer choice.
            ``"stacked"``: that regression predicts one number per scan, which a second head joins with the covariates, see
            :class:`~monai_cpic.networks.StackedReadout`.
        linear_path: let the head add a linear function of the features, see :class:`~monai_cpic.networks.TwoBranchHead`.
        solver: of the canonical projection, ``"direct"`` or ``"cvxpylayers"``, see :class:`~monai_cpic.networks.TTProjection`.
        encoder: default the paper's, ``PatchEncoder(in_channels, n_dims)``; another brings its own numbers of channels.

    Raises:
        ValueError: for an unknown tensorization, decomposition, projection, readout or solver.

    Example:
        >>> import torch
        >>> net = CPICNet(spatial_shape=(16, 16, 8), n_dims=4, rank=3)
        >>> net(torch.rand(2, 1, 16, 16, 8)).shape  # in-memory volumes; usually a list of LazyVolume
        torch.Size([2, 1])
    """

    def __init__(
        self,
        spatial_shape: Sequence[int],
        in_channels: int = 1,
        out_channels: int = 1,
        n_dims: int = 16,
        rank: int = 10,
        covariates: int = 0,
        decomposition: str = "cross",
        projection: str = "canonical",
        tensorization: str = "qtt",
        oversampling: float = 1.5,
        passes: int = 2,
        indices: IndexStore | None = None,
        index_batching: bool = False,
        cells: int = 1024,
        linear_path: bool = False,
        readout: str = "head",
        solver: str = "direct",
        encoder: PatchEncoder | PooledEncoder | VoxelEncoder | None = None,
    ) -> None:
        super().__init__()
        if projection not in ("canonical", "means"):
            raise ValueError(f'projection is "canonical" or "means", got {projection!r}')
        if readout not in ("head", "ridge", "stacked"):
            raise ValueError(f'readout is "head", "ridge" or "stacked", got {readout!r}')
        self.encoder = PatchEncoder(in_channels, n_dims, spatial_dims=len(spatial_shape)) if encoder is None else encoder
        self.bottleneck = TTBottleneck(
            self.encoder, spatial_shape, rank, tensorization, decomposition, oversampling, passes, indices, index_batching, cells
        )
        channels = self.encoder.n_dims
        self.projection = (
            TTProjection(rank, self.bottleneck.mode_sizes, self.bottleneck.bond_rank, solver=solver)
            if projection == "canonical"
            else ChannelMeans(channels)
        )
        self.head = TwoBranchHead(rank if projection == "canonical" else channels, covariates, out_channels, linear_path)
        kinds = {"head": None, "ridge": RidgeReadout, "stacked": StackedReadout}
        kind = kinds[readout]
        self.readout = None if kind is None else kind(out_channels, covariates, self.bottleneck.mode_sizes)
        self._trains: TensorTrain | None = None

    def forward(self, volumes: Sequence[LazyVolume] | Tensor, covariates: Tensor | None = None) -> Tensor:
        """See :class:`~monai_cpic.networks.VolumeRegressor`."""
        outputs = super().forward(volumes, covariates)
        if self.readout is None or self.training or not self.readout.fitted:
            return outputs
        assert self._trains is not None
        return self.readout(self._trains, covariates, self.rows).to(outputs)

    def features(self, volumes: Sequence[LazyVolume]) -> Tensor:
        """Features ``[B, rank]`` or ``[B, n_dims]`` of different volumes, as the projection gives them."""
        self._trains = self.bottleneck(volumes)
        return self.projection(self._trains)

    def gram(self) -> Tensor | None:
        """Inner products ``[B, B]`` of the tensor trains of the last call's rows, with their graph; None in evaluation."""
        if self._trains is None or not self.training:
            return None
        return self._trains.inner(self._trains)[self.rows][:, self.rows]
