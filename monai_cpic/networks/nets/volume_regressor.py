"""The interface of networks on volumes: how they are called and refreshed, and which points they encode."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import NoReturn, TypeAlias

import torch
from torch import Tensor, nn

from monai_cpic.data import Volume, distinct_volumes, open_volume
from monai_cpic.devices import move
from monai_cpic.networks.attribution import Attribution
from monai_cpic.networks.readouts import TwoBranchHead

__all__ = ["RefreshBatch", "VolumeRegressor"]

RefreshBatch: TypeAlias = (
    tuple[Sequence[Volume], Tensor, Tensor | None] | tuple[Sequence[Volume], Tensor, Tensor | None, Sequence[str]]
)
"""Volumes, targets and covariates of rows, and the patient of each: see :meth:`VolumeRegressor.refresh`."""


class VolumeRegressor(nn.Module, ABC):
    """A network that predicts from features of volumes and covariates by a head.

    Derived classes define ``name``, ``head``, :attr:`feature_layer` and :meth:`features`.

    Attributes:
        name: name of the network in reports and metrics.
        head: from features ``[B, F]`` and covariates to outputs.
    """

    name: str
    head: TwoBranchHead

    @property
    @abstractmethod
    def feature_layer(self) -> nn.Module:
        """The module whose output is the features of a batch, in every call: a forward hook sees them beside the prediction."""

    @abstractmethod
    def features(self, volumes: Sequence[Volume]) -> Tensor:
        """Features ``[B, F]`` of ``B`` distinct volumes.

        Raises:
            ValueError: if a volume has another number of channels than the network, or is larger than its grid.
        """

    def __prepare_scriptable__(self) -> NoReturn:
        """Called by ``torch.jit.script``."""
        raise RuntimeError(
            f"{type(self).__name__} reads voxels while it runs, which TorchScript cannot record: deploy the weights "
            "(model.pt) with the bundle's inference.yaml, or trace its encoder and head"
        )

    def forward(self, volumes: Sequence[Volume] | Tensor, covariates: Tensor | None = None) -> Tensor:
        """Outputs ``[B, out_channels]``.

        Args:
            volumes: ``B`` volumes or a dense tensor ``[B, C, *spatial]``.  A volume that occurs several times in the batch, for
                instance once per visit, is evaluated once.
            covariates: ``[B, covariates]``, converted to the device and dtype of the head.

        Raises:
            ValueError: if the number of covariates is not that of the head.
            RuntimeError: under ``torch.jit.trace``, as under ``torch.jit.script`` (both modes of MONAI's ``ckpt_export``): a
                trace would contain the voxels of the scan that it was made with instead of reading those of the scan that it is
                given.
        """
        if torch.jit.is_tracing():
            self.__prepare_scriptable__()
        if covariates is not None:
            self.head.check(covariates)
        if isinstance(volumes, Tensor):
            volumes = [open_volume(volume) for volume in volumes]
        return self._outputs(*distinct_volumes(volumes), covariates)

    def refresh(self, batches: Iterable[RefreshBatch]) -> list[str]:
        """Recompute everything but the weights that predictions depend on, such as a basis, statistics or a readout.

        By default this does nothing.

        Args:
            batches: volumes (one for each row), targets ``[R, K]`` and covariates ``[R, covariates]`` of the training, then the
                patient of each row, unless each volume is of another one; rows with NaN are left out.  Only as many batches are
                read as are needed.

        Returns:
            Messages for the log.
        """
        return []

    def sampled_points(self, volume: Volume) -> Tensor | None:
        """The grid points, int64 ``[N, D]``, that an evaluation encodes of a volume; None if the network sees all voxels."""
        return None

    def attributed(self, volume: Volume, covariates: Tensor | None = None, output: int = 0) -> Attribution | None:
        """What each encoded voxel contributes to an output, see :func:`~monai_cpic.networks.attribute`; None if that is not
        known of this network."""
        return None

    def _outputs(self, volumes: Sequence[Volume], rows: Tensor, covariates: Tensor | None) -> Tensor:
        """Outputs of the rows of a batch, given its distinct volumes and the index of each row's volume, int64 ``[B]``."""
        return self._predicted(self.features(volumes), rows, covariates)

    def _predicted(self, features: Tensor, rows: Tensor, covariates: Tensor | None) -> Tensor:
        """The head's outputs, on its device and in its precision."""
        parameter = next(self.head.parameters())
        seen = features[move(rows, features)].to(parameter.device, parameter.dtype)
        return self.head(seen, None if covariates is None else move(covariates, seen).to(seen.dtype))
