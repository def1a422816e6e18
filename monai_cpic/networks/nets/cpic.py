"""C-PIC: regression from whole volumes through a tensor-train bottleneck."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from monai_cpic.data import Volume, distinct_volumes
from monai_cpic.devices import move
from monai_cpic.networks.attribution import Attribution, attribute
from monai_cpic.networks.bottleneck import TTBottleneck
from monai_cpic.networks.coarse_scan import coarse_scan
from monai_cpic.networks.decompositions import Decomposition, ScanCross
from monai_cpic.networks.encoders import Encoder, PooledEncoder, PositionedEncoder
from monai_cpic.networks.nets.known_features import KnownFeatures
from monai_cpic.networks.nets.volume_regressor import RefreshBatch, VolumeRegressor
from monai_cpic.networks.projections import ChannelMaxima, ChannelMeans, JoinedProjection, Projection
from monai_cpic.networks.readouts import Readout, TwoBranchHead
from monai_cpic.networks.sampled_field import SampledField
from monai_cpic.tensor_train import qtt_modes

__all__ = ["CPICNet"]

NEAR_AND_FAR = (1, 4, 16)  # steps of the default encoder's patches


class CPICNet(VolumeRegressor):
    """Encoder at chosen voxels → tensor train → features → head (paper, section 3.1 and figure 2).

    The first four arguments suffice.  Each part can also be passed; parts that are not passed are built to fit the others.
    Presets build common combinations of parts: :func:`~monai_cpic.networks.paper_net`,
    :func:`~monai_cpic.networks.random_cells_net`.

    Args:
        spatial_shape: the grid, ``D`` sizes; volumes may be smaller (virtual padding), not larger.  Powers of two are most
            efficient.  May be omitted if a decomposition, which has its own, is given.
        in_channels: channels of the volumes; not used if an encoder is given.
        out_channels: number of outputs; not used if a head is given.
        covariates: number of covariates of each row; not used if a head is given.
        encoder: from patches to latent vectors; default: :class:`~monai_cpic.networks.PooledEncoder` with 16 channels, of patches
            near and far (steps 1, 4 and 16), which sees its position (:class:`~monai_cpic.networks.PositionedEncoder`).
        decomposition: which voxels are encoded, and the tensor train of their vectors; default: a scan and a cross-approximation
            seeded by it, :class:`~monai_cpic.networks.ScanCross`.
        projection: from latent fields to features; default: the means and the maxima of the channels.
        head: from features and covariates to outputs; default: with a linear path.
        readout: if given, the network predicts by it once it is fitted (:meth:`refresh`); the loss of the head then only trains
            the encoder.  Long training overfits the encoder to its scans, and predictions of the head are then more reliable.
        checkpointing: bound the memory of a training step, see :class:`~monai_cpic.networks.TTBottleneck`.

    Raises:
        ValueError: if there is neither a spatial shape nor a decomposition, or the two differ, or a head takes another number of
            features than the projection has.
        TypeError: if the readout is something else, such as the word "null".

    Example:
        >>> import torch
        >>> net = CPICNet(spatial_shape=(16, 16, 8))
        >>> net(torch.rand(2, 1, 16, 16, 8)).shape  # in-memory volumes; usually a list of LazyVolume
        torch.Size([2, 1])
    """

    name = "C-PIC"

    def __init__(
        self,
        spatial_shape: Sequence[int] | None = None,
        in_channels: int = 1,
        out_channels: int = 1,
        covariates: int = 0,
        *,
        encoder: Encoder | None = None,
        decomposition: Decomposition | None = None,
        projection: Projection | None = None,
        head: TwoBranchHead | None = None,
        readout: Readout | None = None,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        grid = spatial_shape if decomposition is None else decomposition.spatial_shape
        if grid is None or (spatial_shape is not None and tuple(spatial_shape) != tuple(grid)):
            raise ValueError(
                f"a network needs one grid, got spatial_shape={spatial_shape} and a decomposition of the grid {grid}"
            )
        if encoder is None:
            patches = PooledEncoder(in_channels, spatial_dims=len(grid), steps=NEAR_AND_FAR)
            encoder = PositionedEncoder(patches, spatial_dims=len(grid))
        if decomposition is None:
            decomposition = ScanCross(qtt_modes(grid, encoder.n_dims, radix=4))
        self.bottleneck = TTBottleneck(encoder, decomposition, checkpointing)
        if projection is None:
            projection = JoinedProjection([ChannelMeans(encoder.n_dims), ChannelMaxima(encoder.n_dims)])
        self.projection = projection
        if head is None:
            head = TwoBranchHead(projection.features, covariates, out_channels, linear_path=True)
        self.head = head
        if self.head.features != projection.features:
            raise ValueError(f"the head takes {self.head.features} features, the projection has {projection.features}")
        if readout is not None and not isinstance(readout, Readout):
            raise TypeError(f"a readout is a Readout or None, got {readout!r}; on a command line None is '$None'")
        self.readout = readout
        self._known = KnownFeatures()

    @property
    def encoder(self) -> Encoder:
        """The encoder of the bottleneck."""
        return self.bottleneck.encoder

    @property
    def feature_layer(self) -> Projection:
        return self.projection

    def field(self, volumes: Sequence[Volume]) -> SampledField:
        """The latent fields of volumes, as projection and readout see them."""
        field = self.bottleneck(volumes)
        if self.training or self.readout is None or not self.readout.reads_coarse:
            return field
        return replace(field, coarse=move(coarse_scan(volumes, self.bottleneck.decomposition.spatial_shape), field.means))

    def features(self, volumes: Sequence[Volume]) -> Tensor:
        """Features ``[B, F]``; those of scans of the last :meth:`refresh` are known, while neither a gradient is needed nor a
        weight has changed."""
        known = None if self.training or torch.is_grad_enabled() else self._known.of((self.bottleneck, self.projection), volumes)
        return self.projection(self.bottleneck(volumes)) if known is None else known

    def _outputs(self, volumes: Sequence[Volume], rows: Tensor, covariates: Tensor | None) -> Tensor:
        field = self.field(volumes)
        features = self.projection(field)
        if self.readout is None or self.training or not self.readout.fitted:
            return self._predicted(features, rows, covariates)
        return self.readout(field, covariates, rows).to(next(self.head.parameters()))

    @torch.no_grad()
    def sampled_points(self, volume: Volume) -> Tensor:
        self.eval()
        self.bottleneck([volume])
        return self.bottleneck.sampled[0]

    def attributed(self, volume: Volume, covariates: Tensor | None = None, output: int = 0) -> Attribution:
        return attribute(self, volume, covariates, output)

    @torch.no_grad()
    def refresh(self, batches: Iterable[RefreshBatch]) -> list[str]:
        """Recompute the projection's basis or statistics from as many volumes as it uses, and fit the readout to all volumes.

        In training the basis lags behind the encoder, which changes in every step; in evaluation it must belong to the encoder
        that it is used with.  Afterwards the network is in evaluation mode.  With too few known targets for the readout there is
        a warning, and predictions are the head's.
        """
        self.eval()
        capacity = self.projection.capacity
        scans: list[bytes | None] = []
        fields: list[SampledField] = []
        targets: list[Tensor] = []
        covariates: list[Tensor] = []
        rows: list[Tensor] = []
        patients: list[str] = []
        seen = 0
        for volumes, target, given, *named in batches:
            distinct, indices = distinct_volumes(volumes)
            rows.append(indices + seen)
            fields.append(self.field(distinct))
            targets.append(target)
            covariates += [] if given is None else [given]
            patients += named[0] if named else map(str, rows[-1].tolist())
            scans += [volume.identity for volume in distinct]
            seen += len(distinct)
            if self.readout is None and seen >= capacity:
                break
        if not fields:
            raise ValueError("there is no batch of training data to refresh the network from")
        every = SampledField.cat(fields)
        self.projection.refresh(every[:capacity])
        self._known.keep((self.bottleneck, self.projection), scans, self.projection(every))
        done = [f"Refreshed the projection from {min(seen, capacity)} volumes"]
        if self.readout is not None:
            target = torch.cat(targets).reshape(sum(map(len, targets)), -1)
            known = ~target.isnan().any(1)
            chosen = torch.cat(rows).to(known.device)[known]
            numbers = {name: number for number, name in enumerate(dict.fromkeys(patients))}
            groups = torch.tensor([numbers[name] for name in patients], device=known.device)[known]
            self.readout.fitted.fill_(False)
            if len(groups.unique()) < self.readout.fewest:
                fewest = self.readout.fewest
                warnings.warn(f"fewer than {fewest} patients have a known target: predictions are the head's", stacklevel=2)
                return done
            self.readout.fit(every, target[known], torch.cat(covariates)[known] if covariates else None, chosen, groups)
            done.append(f"Fitted the readout to {int(known.sum())} rows: {self.readout.summary}")
        return done
