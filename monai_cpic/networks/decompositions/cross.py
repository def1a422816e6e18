"""Cross-approximation of latent fields: the paper's decomposition."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor

from monai_cpic.data import Volume
from monai_cpic.devices import constant
from monai_cpic.networks.decompositions.base import TensorizedDecomposition
from monai_cpic.networks.decompositions.index_store import IndexStore
from monai_cpic.networks.latent_field import LatentField
from monai_cpic.networks.sampled_field import SampledField
from monai_cpic.tensor_train import CrossIndices, Mode, Sweep, TensorTrain, cross_approximate

__all__ = ["CrossApproximation"]


class CrossApproximation(TensorizedDecomposition):
    """Tensor trains by cross-approximation, which chooses the points to encode (paper, section 3.2).

    A training step is one sweep, which starts from the index sets of the volume's last step (warm start).  A volume that has no
    step yet, and every volume in evaluation, starts from the same seeded random index sets (cold start), so that a prediction
    depends on the weights and the scan alone.

    The maxima are over all points of a step.  A cold start has about ``passes`` times as many as a warm one, so that maxima in
    evaluation are larger: refresh their statistics (:meth:`~monai_cpic.networks.CPICNet.refresh`) before.

    Args:
        modes: the tensorization of grid and channels, see :class:`TensorizedDecomposition`.
        rank: bond rank of the tensor trains.
        oversampling: rows per bond divided by ``rank``, see :func:`~monai_cpic.tensor_train.cross_approximate`; 1 is the paper's
            plain cross.
        passes: number of sweeps of a cold start.
        indices: keeps the index sets with which the next training step of each volume starts; default: an :class:`IndexStore` in
            memory, with new points in every step.
    """

    def __init__(
        self,
        modes: Sequence[Mode],
        rank: int = 10,
        oversampling: float = 1.5,
        passes: int = 2,
        indices: IndexStore | None = None,
    ) -> None:
        super().__init__(modes, rank)
        self.oversampling = oversampling
        self.passes = passes
        self.indices = IndexStore() if indices is None else indices

    def forward(self, field: LatentField, step: int | None) -> SampledField:
        trains = self._cold(field, self.passes)[0] if step is None else self._warm(field)
        return SampledField(trains, self.channel_means(trains), field.maxima().double(), scan=trains)

    def repeats(self, step: int | None) -> bool:
        return step is None or self.indices.hold > 1

    def planned(self, volume: Volume) -> Tensor | None:
        indices = self.indices.get(volume.key)
        if indices is None or indices.rows is None:  # only a step that repeats an earlier one (``hold``) is known beforehand
            return None
        return indices.coordinates(self.modes)[0, :, :-1].unique(dim=0)

    def _cold(self, field: LatentField, passes: int) -> tuple[TensorTrain, CrossIndices]:
        """Sweeps from random index sets."""
        return cross_approximate(
            field,
            self.modes_of(field),
            self.rank,
            batch_size=len(field),
            oversampling=self.oversampling,
            passes=passes,
            completion=0,
        )

    def _warm(self, field: LatentField) -> TensorTrain:
        """One sweep with gradient from the volumes' index sets, which are replaced by those for the next step."""
        starts = self._starts(field)
        kinds: dict[tuple[str, bool], list[int]] = defaultdict(list)
        for b, start in enumerate(starts):
            kinds[start.side, start.rows is None].append(b)
        trains: list[TensorTrain] = []
        order: list[int] = []
        for members in kinds.values():
            sweep = Sweep(field[members], self.modes_of(field), self.oversampling)
            train, following = sweep(CrossIndices.cat([starts[b] for b in members]))
            for position, b in enumerate(members):
                one = slice(position, position + 1)
                self.indices.put(field.volumes[b].key, following[one], sweep.repeat[one])
            trains.append(train)
            order += members
        back = sorted(range(len(order)), key=order.__getitem__)
        return TensorTrain.cat(trains)[constant(back, field.device)]

    @torch.no_grad()
    def _starts(self, field: LatentField) -> list[CrossIndices]:
        """The stored index sets of each volume; for a new volume, those after all sweeps of a cold start but the last."""
        kept = [self.indices.get(volume.key, field.device) for volume in field.volumes]
        new = [b for b, indices in enumerate(kept) if indices is None]
        if new:
            _, made = self._cold(field[new], max(self.passes - 1, 1))
            for position, b in enumerate(new):
                kept[b] = made[position : position + 1]
        return [indices for indices in kept if indices is not None]
