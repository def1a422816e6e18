"""Features of tensor trains as coordinates in a basis of principal components, the paper's canonical features (section 3.3).

The cores of a tensor train are not unique, but inner products of tensor trains are.  The basis tensors ``B_j = Σ_i T_i c_ij`` are
linear combinations of stored tensor trains ``T_i`` (the bank): principal components, computed from the Gram matrix of the bank.
The features of ``T`` are ``⟨T, B_j⟩``.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from monai_cpic.distributed import joint_mean, joint_trains
from monai_cpic.networks.kept_trains import KeptTrains
from monai_cpic.networks.projections.base import Projection
from monai_cpic.networks.sampled_field import SampledField
from monai_cpic.tensor_train import TensorTrain

__all__ = ["TTProjection"]

SMALLEST_EIGENVALUE = 1e-9  # relative to the largest; directions below it are noise and get the feature 0
EMPTY, SINGLES = -1, 0  # special values of ``group``; steps count from 1


class TTProjection(Projection):
    """Projection of tensor trains onto a centred, aligned basis of principal components.

    Each training step computes a new basis from the bank, which holds the tensor trains of the batch and of as many earlier steps
    as fit into it (as constants).  Each batch is centred by its own mean, since the encoder changes between steps.  The basis is
    then rotated to agree best with the previous one (orthogonal Procrustes), since eigenvectors may change their signs and mix.
    Evaluation uses the last basis unchanged.  :meth:`refresh` computes it from tensor trains of the present weights; call it
    before every evaluation.  The basis is part of the state dict.

    A batch of one volume has no mean of its own, so all such batches in the bank are centred together.  In a distributed training
    the batch is that of all processes, and all processes have the same basis.

    Args:
        rank: number of features.
        mode_sizes: mode sizes of the tensor trains, an attribute of their decomposition.
        ranks: bond ranks of the tensor trains, one more than modes, an attribute of their decomposition.
        capacity: number of tensor trains in the bank, which limits their age; at least the batch size, ideally twice as many.
        solver: from the overlaps ``⟨T, B_j⟩ [B, rank]`` and the Gram matrix of the basis ``[rank, rank]`` to coordinates, such as
            the paper's :class:`~monai_cpic.networks.ConvexSolver`.  Default: the overlaps themselves, which solve the same
            problem, since the basis is orthonormal.

    Raises:
        ValueError: if ``rank`` is below 1 or ``capacity`` below 2.
    """

    group: Tensor
    step: Tensor
    coefficients: Tensor
    mean: Tensor
    scale: Tensor

    def __init__(
        self,
        rank: int,
        mode_sizes: Sequence[int],
        ranks: Sequence[int],
        capacity: int = 40,
        solver: Callable[[Tensor, Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        if rank < 1 or capacity < 2:
            raise ValueError(f"rank must be at least 1 and capacity at least 2, got {rank} and {capacity}")
        self.solver = solver
        self.features = rank
        self.capacity = capacity
        self.bank = KeptTrains(capacity, mode_sizes, ranks)
        self.register_buffer("group", torch.full((capacity,), EMPTY))  # step of each tensor train in the bank, SINGLES or EMPTY
        self.register_buffer("step", torch.tensor(0))
        self.register_buffer("coefficients", torch.zeros(capacity, rank, dtype=torch.float64))
        self.register_buffer("mean", torch.zeros(rank, dtype=torch.float64))
        self.register_buffer("scale", torch.tensor(0.0, dtype=torch.float64))  # 0: there is no basis yet

    def forward(self, field: SampledField) -> Tensor:
        """Features ``[B, rank]``, float64, of zero mean and about unit variance over the training volumes.

        In evaluation before the first training step there is no basis: the features are 0, and a warning is issued.

        Raises:
            ValueError: if the tensor trains have other modes; in training, if the batch is larger than the bank, or the tensor
                trains have no gradient while means have.
        """
        trains, joint = field.trains.to(self.coefficients.device), 0
        sizes, own = ([core.shape[2] for core in every] for every in (trains, self.bank()))
        if sizes != own:
            raise ValueError(
                f"tensor trains of the mode sizes {sizes} do not fit the projection, which is for {own}: mode sizes are those "
                "of the decomposition, and of both decompositions of a Curriculum"
            )
        if self.training:
            if field.means.requires_grad and not trains.cores[0].requires_grad:
                raise ValueError(
                    "the tensor trains have no gradient, so their projection would teach the encoder nothing: build "
                    "ScanCross with gradient=True"
                )
            joint = self._update(joint_trains(trains))
        elif self.scale == 0:
            message = "the projection has no basis yet, its features are 0: train the network or load a checkpoint"
            warnings.warn(message, stacklevel=2)
            return self.coefficients.new_zeros(len(trains), self.features)
        features = self._project(trains)
        scale = torch.where(self.scale > 0, self.scale, 1.0)  # not the buffer itself, which the next step changes
        return (features - (joint_mean(features) if joint > 1 else self.mean.clone())) / scale

    @torch.no_grad()
    def refresh(self, field: SampledField) -> None:
        """Compute the basis, the mean and the scale from these fields alone; the basis is aligned to the previous one.

        Raises:
            ValueError: if there are fewer than two, or more than the bank holds.
        """
        if not 2 <= len(field) <= self.capacity:
            raise ValueError(f"a basis needs 2 to {self.capacity} tensor trains, got {len(field)}")
        trains = field.trains.detach().to(self.coefficients.device)
        self.step += 1
        self._make_basis(trains, self.step.repeat(len(trains)))
        features = self._project(trains)
        self.mean.copy_(features.mean(0))
        self.scale.copy_(_spread(features))

    def _project(self, trains: TensorTrain) -> Tensor:
        bank, coefficients = self._kept(), self.coefficients[self.group != EMPTY]
        overlap = trains.inner(bank) @ coefficients
        return overlap if self.solver is None else self.solver(overlap, coefficients.mT @ bank.inner(bank) @ coefficients)

    def _kept(self) -> TensorTrain:
        return self.bank()[self.group != EMPTY]

    @torch.no_grad()
    def _update(self, trains: TensorTrain) -> int:
        """Put the batch of a training step into the bank in place of the oldest tensor trains; return the size of the batch."""
        size = len(trains)
        if size > self.capacity:
            raise ValueError(f"a batch of {size} volumes does not fit the bank of {self.capacity}: enlarge its capacity")
        self.step += 1
        group = (self.step if size > 1 else self.step.new_tensor(SINGLES)).repeat(size)
        kept = self._kept()[: self.capacity - size]
        bank = TensorTrain.cat([trains, kept])
        groups = torch.cat([group, self.group[: len(kept)]])
        self._make_basis(bank, groups)
        features = self._project(bank[groups == group[0]])
        spread = _spread(features)
        if len(features) > 1:  # a single one has no mean of its own
            self.mean.copy_(features.mean(0))
            self.scale.copy_(spread if self.scale == 0 else 0.9 * self.scale + 0.1 * spread)
        return size

    def _make_basis(self, bank: TensorTrain, groups: Tensor) -> None:
        """Compute principal components of the bank, centred group by group, rotate them to the present basis, and store both."""
        same = (groups[:, None] == groups).double()
        centre = torch.eye(len(bank), dtype=torch.float64, device=same.device) - same / same.sum(1)
        values, vectors = torch.linalg.eigh(centre @ bank.inner(bank) @ centre)
        values, vectors = values.flip(0)[: self.features], vectors.flip(1)[:, : self.features]
        carries = values > SMALLEST_EIGENVALUE * values[:1].clamp(min=torch.finfo(torch.float64).tiny)
        coefficients = self.coefficients.new_zeros(len(bank), self.features)
        coefficients[:, : len(values)] = centre @ torch.where(carries, vectors / values.where(carries, 1.0).sqrt(), 0.0)
        if self.scale > 0:
            overlap = coefficients.mT @ bank.inner(self._kept()) @ self.coefficients[self.group != EMPTY]
            u, _, vh = torch.linalg.svd(overlap)
            coefficients = coefficients @ (u @ vh)
        self.group.fill_(EMPTY)[: len(bank)] = groups
        self.coefficients.zero_()[: len(bank)] = coefficients
        self.bank.keep(bank)


def _spread(features: Tensor) -> Tensor:
    """Mean standard deviation of the features that vary; 1 if none does."""
    deviation = features.std(0, correction=0)
    varying = deviation > 0
    return torch.where(varying.any(), deviation.sum() / varying.sum().clamp(min=1), 1.0)
