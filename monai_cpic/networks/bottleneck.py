"""The tensor-train bottleneck: from volumes to tensor trains of their latent fields."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from monai_cpic.data import Volume
from monai_cpic.devices import ensure, move
from monai_cpic.distributed import joint_rows
from monai_cpic.networks.decompositions import Decomposition
from monai_cpic.networks.encoders import Encoder
from monai_cpic.networks.grid import check_volume, points_by_volume
from monai_cpic.networks.latent_field import LatentField, grid_positions
from monai_cpic.networks.sampled_field import SampledField
from monai_cpic.tensor_train.threads import backward_in_one_thread, threads

__all__ = ["TTBottleneck"]

STATISTICS_POINTS = 100  # random points per volume and step that update the running statistics


class TTBottleneck(nn.Module):
    """The latent fields of volumes as tensor trains, from the few patches that a decomposition asks for (paper, section 3.2).

    Each channel of the field is standardised by running statistics, since a constant part would use up the rank.  These
    statistics, and those of an encoder with batch normalization, are updated once in each training step, from random patches.

    Args:
        encoder: from patches to latent vectors.
        decomposition: from latent fields to tensor trains; defines the grid.  Smaller volumes are padded virtually by their
            border mode, larger ones are refused.
        checkpointing: bound the memory of a training step: the encoder's intermediate values are kept for one chunk of points
            at a time, and are recomputed from the volumes in the backward pass (the paper's index batching, section 4).  The
            gradients are the same; the additional time is that of one forward pass.

    Attributes:
        sampled: for each volume of the last call, the grid points that were encoded, int64 ``[N, D]``.

    Raises:
        ValueError: if encoder and decomposition differ in the channels of the latent field.

    Example:
        >>> from monai_cpic.data import open_volume
        >>> from monai_cpic.networks import PatchEncoder, RandomCells
        >>> bottleneck = TTBottleneck(PatchEncoder(n_dims=4), RandomCells((16, 16, 8), n_dims=4, cells=32))
        >>> bottleneck([open_volume(torch.rand(1, 16, 16, 8))]).trains.shape
        (128,)
    """

    def __init__(self, encoder: Encoder, decomposition: Decomposition, checkpointing: bool = False) -> None:
        super().__init__()
        if encoder.n_dims != decomposition.n_dims:
            raise ValueError(
                f"the encoder makes {encoder.n_dims} latent channels, the decomposition expects {decomposition.n_dims}: build "
                "both with the same n_dims"
            )
        self.encoder = encoder
        self.decomposition = decomposition
        self.checkpointing = checkpointing
        self.standardise = nn.BatchNorm1d(encoder.n_dims, affine=False)
        self._encoded = torch.empty(0, dtype=torch.int64, device="cpu")  # of the last call, with the number of its volumes
        self._volumes = 0
        self._steps: int | None = None  # training steps so far; None: to be asked from the buffer
        self.register_load_state_dict_post_hook(_count_again)  # type: ignore[no-untyped-call]  # torch does not declare it

    @property
    def sampled(self) -> list[Tensor]:
        return points_by_volume(self._encoded, self._volumes, self.decomposition.spatial_shape)

    @threads(1)  # matrices and calls of the encoder are small
    def forward(self, volumes: Sequence[Volume]) -> SampledField:
        """The volumes' standardised latent fields (float64, on the encoder's device), in the order of ``volumes``.

        Raises:
            ValueError: if the channels of a volume differ from those of the encoder, it is larger than the grid, or it has voxels
                that are NaN or infinite.
            FloatingPointError: if the encoder makes such values of finite voxels.
        """
        for volume in volumes:
            check_volume(volume, self.encoder.in_channels, self.decomposition.spatial_shape)
        self.encoder.eval()
        step = self._step + 1 if self.training else None
        read = partial(self.encoder.read, again=self.decomposition.repeats(step))
        device = self._statistics.device
        field = LatentField(volumes, self.decomposition.spatial_shape, read, self._encode, self.checkpointing, device)
        if self.training:
            self._update_statistics(field)
        found = self.decomposition(field, step)
        self._encoded, self._volumes = field.encoded, len(field)
        return found

    def latent(self, read: Tensor, positions: Tensor) -> Tensor:
        """Latent vectors ``[N, n_dims]`` of what the encoder has read of points and their positions, on the device and in the
        precision of the encoder, even under autocast."""
        mean = self._statistics
        device = mean.device.type
        # Autocast keeps a weight that it has cast.  Some versions of torch do so under no_grad, too, from where it comes without
        # a graph, and the encoder would not be trained.
        with torch.autocast(device, enabled=torch.is_autocast_enabled(device), cache_enabled=False):
            return self.encoder(read.to(mean), positions.to(mean)).to(mean)

    def _encode(self, read: Tensor, positions: Tensor) -> Tensor:
        """Standardised latent vectors."""
        running = self.standardise
        assert running.running_mean is not None and running.running_var is not None
        latent = self.latent(read, positions)
        # copies: the backward pass reads them, and another step may come before it
        mean, variance = running.running_mean.clone(), running.running_var.clone()
        latent = nn.functional.batch_norm(latent, mean, variance, eps=running.eps)
        return backward_in_one_thread(latent)

    @property
    def _step(self) -> int:
        """Training steps so far."""
        if self._steps is None:
            assert self.standardise.num_batches_tracked is not None
            self._steps = int(self.standardise.num_batches_tracked)
        return self._steps

    @property
    def _statistics(self) -> Tensor:
        assert self.standardise.running_mean is not None
        return self.standardise.running_mean

    @torch.no_grad()
    def _update_statistics(self, field: LatentField) -> None:
        """Update the running statistics of the encoder and of each latent channel from random points; the first batch sets them.

        Layers that stay in evaluation mode when the module is put into training mode are frozen, and keep their statistics.  The
        points depend on the step alone and the patches of all processes are gathered, so that several processes compute the
        same statistics as one process with the joint batch.  Statistics that would not be finite are not kept.

        Raises:
            ValueError: if a voxel is NaN or infinite.
            FloatingPointError: if the encoder's output is.
        """
        step = self._step
        generator = torch.Generator().manual_seed(step)
        relative = torch.rand(STATISTICS_POINTS, len(field.spatial_shape), generator=generator, device="cpu")
        points = (move(relative, field.device) * field.extents[:, None]).long()
        pairs = zip(field.volumes, points, strict=True)
        read = [move(self.encoder.read(volume, own, again=False), field.device) for volume, own in pairs]
        self.train()
        running = [layer for layer in self.modules() if isinstance(layer, _BatchNorm) and layer.training]
        self.encoder.eval()
        for layer in running:
            layer.momentum = 0.1 if step else 1.0
            layer.train()
        statistics = [buffer for layer in running for buffer in layer.buffers()]
        before = [buffer.clone() for buffer in statistics]
        where = grid_positions(points.flatten(0, 1), field.spatial_shape)
        self.standardise(self.latent(joint_rows(torch.cat(read)), joint_rows(where)))
        for layer in running:
            layer.eval()
        self._steps = step + 1

        def error() -> FloatingPointError:
            for buffer, value in zip(statistics, before, strict=True):
                buffer.copy_(value)
            self._steps = step
            names = ", ".join(str(volume.key or "a volume") for volume in field.volumes)
            return FloatingPointError(
                f"{names}: the encoder gives values that are NaN or infinite, from finite voxels; its weights have diverged, or "
                "the intensities are too large for it: scale them, or lower the learning rate"
            )

        ensure(torch.cat([buffer.isfinite().flatten() for buffer in statistics]), error)


def _count_again(module: TTBottleneck, incompatible: object) -> None:
    """A loaded state may be of another step."""
    module._steps = None
