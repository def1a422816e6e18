"""What networks on volumes share: one way to call them, to refresh them and to ask where they look."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from monai_cpic.data import Volume, distinct_volumes, open_volume
from monai_cpic.networks.readouts import TwoBranchHead

__all__ = ["VolumeRegressor"]


class VolumeRegressor(nn.Module, ABC):
    """Features of volumes, joined with covariates in a head.

    A network derived from it has a ``name``, a ``head`` and :meth:`features`.

    Attributes:
        name: of the network in reports and metrics.
        head: outputs from features ``[B, F]`` and covariates.
    """

    name: str
    head: TwoBranchHead

    @abstractmethod
    def features(self, volumes: Sequence[Volume]) -> Tensor:
        """Features ``[B, F]`` of different volumes."""

    def forward(self, volumes: Sequence[Volume] | Tensor, covariates: Tensor | None = None) -> Tensor:
        """Outputs ``[B, out_channels]``.

        Args:
            volumes: ``B`` volumes or a dense tensor ``[B, C, *spatial]``.  A volume that occurs in the batch several times (one
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
        return self._outputs(*distinct_volumes(volumes), covariates)

    def refresh(self, batches: Iterable[tuple[Sequence[Volume], Tensor, Tensor | None]]) -> list[str]:
        """Bring what predictions rest on beside the weights up to date with them.

        Nothing for a network whose predictions rest on its weights alone.

        Args:
            batches: volumes, targets ``[R, K]`` (rows with NaN are left out) and covariates ``[R, covariates]`` of the training,
                a volume for each row; read only as far as needed.

        Returns:
            What was done, in words for the log.
        """
        return []

    def sampled_points(self, volume: Volume) -> Tensor | None:
        """The grid points, int64 ``[N, D]``, that an evaluation encodes of a volume; None for a network that sees all voxels."""
        return None

    def _outputs(self, volumes: Sequence[Volume], rows: Tensor, covariates: Tensor | None) -> Tensor:
        """Outputs for rows of different volumes, ``rows`` being the place of each row's volume, int64 ``[B]``."""
        return self._predicted(self.features(volumes), rows, covariates)

    def _predicted(self, features: Tensor, rows: Tensor, covariates: Tensor | None) -> Tensor:
        """The head's outputs, on its device and in its precision."""
        parameter = next(self.head.parameters())
        seen = features[rows].to(parameter.device, parameter.dtype)
        return self.head(seen, None if covariates is None else covariates.to(seen))
