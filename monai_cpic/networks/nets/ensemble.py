"""Several trained networks that predict as one: the mean of their outputs."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from monai_cpic.data import Volume
from monai_cpic.networks.attribution import Attribution
from monai_cpic.networks.nets.volume_regressor import RefreshBatch, VolumeRegressor

__all__ = ["Ensemble"]


class Ensemble(VolumeRegressor):
    """The mean of the outputs of networks that are built alike and trained apart, such as on the folds of a cross-validation.

    A mean of quantiles that are in order is in order, too.

    Reference: L. Breiman, "Bagging predictors", Machine Learning 24, 1996.

    Args:
        network: a network, of which each member is a copy with weights of its own; load them (``load_state_dict``), those of
            member ``k`` have the prefix ``networks.<k>.``.
        members: number of networks.

    Example:
        >>> from monai_cpic.networks import CPICNet
        >>> Ensemble(CPICNet(spatial_shape=(16, 16, 8)), members=5)(torch.rand(2, 1, 16, 16, 8)).shape
        torch.Size([2, 1])
    """

    def __init__(self, network: VolumeRegressor, members: int) -> None:
        super().__init__()
        if members < 1:
            raise ValueError(f"an ensemble has at least one member, got {members}")
        self.name = network.name
        self.networks = nn.ModuleList(copy.deepcopy(network) for _ in range(members))
        self._side_by_side = _SideBySide()

    @property
    def _members(self) -> list[VolumeRegressor]:
        return [network for network in self.networks if isinstance(network, VolumeRegressor)]

    @property
    def feature_layer(self) -> nn.Module:
        return self._side_by_side

    def features(self, volumes: Sequence[Volume]) -> Tensor:
        """The features of all members side by side, ``[B, members · F]``."""
        return self._side_by_side([network.features(volumes) for network in self._members])

    def forward(self, volumes: Sequence[Volume] | Tensor, covariates: Tensor | None = None) -> Tensor:
        outputs: list[Tensor] = []
        features: list[Tensor] = []
        for network in self._members:
            with network.feature_layer.register_forward_hook(lambda layer, given, found: features.append(found)):
                outputs.append(network(volumes, covariates))
        self._side_by_side(features)  # for the hooks of others
        return torch.stack(outputs).mean(0)

    def refresh(self, batches: Iterable[RefreshBatch]) -> list[str]:
        read = list(batches)
        return [done for network in self._members for done in network.refresh(read)]

    def sampled_points(self, volume: Volume) -> Tensor | None:
        """The points that any member encodes; None if the members see all voxels."""
        points = [found for network in self._members if (found := network.sampled_points(volume)) is not None]
        return torch.cat(points).unique(dim=0) if points else None

    def attributed(self, volume: Volume, covariates: Tensor | None = None, output: int = 0) -> Attribution | None:
        """The mean of the members' contributions; None if those of a member are not known."""
        parts = [network.attributed(volume, covariates, output) for network in self._members]
        known = [part for part in parts if part is not None]
        return Attribution.mean(known) if len(known) == len(parts) else None


class _SideBySide(nn.Module):
    """The features of the members, joined."""

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        return torch.cat(list(features), 1)
