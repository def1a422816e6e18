"""What networks on volumes share: one way to call them, and the head."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from monai_cpic.data import LazyVolume, distinct_volumes, open_volume
from monai_cpic.networks.readouts import TwoBranchHead

__all__ = ["VolumeRegressor"]


class VolumeRegressor(nn.Module):
    """Features of volumes, joined with covariates in a :class:`~monai_cpic.networks.TwoBranchHead`.

    A network derived from it has :meth:`features` and ``head``.

    Attributes:
        rows: which of the different volumes of the last call each of its rows saw, int64 ``[B]``.
    """

    head: TwoBranchHead
    rows: Tensor

    def features(self, volumes: Sequence[LazyVolume]) -> Tensor:
        """Features ``[B, F]`` of different volumes."""
        raise NotImplementedError

    def forward(self, volumes: Sequence[LazyVolume] | Tensor, covariates: Tensor | None = None) -> Tensor:
        """Outputs ``[B, out_channels]``.

        Args:
            volumes: ``B`` volumes or a dense tensor ``[B, C, *spatial]``.  A volume that stands in the batch several times (one
                row per visit, say) is evaluated once.
            covariates: ``[B, covariates]``, brought to the head's device and dtype.

        Raises:
            RuntimeError: under ``torch.jit.trace`` (MONAI's ``ckpt_export --use_trace True``): a trace would hold the voxels
                of the scan it was made with instead of reading those of the scan it is given.
        """
        if torch.jit.is_tracing():
            raise RuntimeError(
                f"{type(self).__name__} reads voxels while it runs, which TorchScript cannot record: deploy the weights "
                "(model.pt) with the bundle's inference.yaml, or trace its encoder and head"
            )
        if isinstance(volumes, Tensor):
            volumes = [open_volume(volume) for volume in volumes]
        distinct, self.rows = distinct_volumes(volumes)
        parameter = next(self.head.parameters())
        features = self.features(distinct)[self.rows].to(parameter.device, parameter.dtype)
        return self.head(features, None if covariates is None else covariates.to(features))
