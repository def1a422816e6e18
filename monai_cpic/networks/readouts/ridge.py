"""Ridge regression on inner products of tensor trains, in closed form."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from monai_cpic.networks.kept_trains import KeptTrains
from monai_cpic.networks.readouts.base import Readout
from monai_cpic.tensor_train import TensorTrain, bond_ranks

__all__ = ["RidgeReadout"]

SHARES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)  # of the scans in the kernel; the rest is the covariates'
PENALTIES = [10.0 ** (k / 4) for k in range(-20, 13)]  # in units of the kernel's mean eigenvalue
SUMMED = 8  # tensor trains that are added before their sum is rounded
PRECISION = torch.float64


class RidgeReadout(Readout):
    """Targets as a linear function of the whole tensor train and of the covariates.

    A head sees a few features; this sees all that the tensor trains hold, through a template that is a combination of those it
    was fitted to, ``y = ⟨T, W⟩ + z v + c`` with ``W = Σ_i α_i T_i``: kernel ridge regression (Saunders, Gammerman and Vovk 1998)
    on inner products, which do not depend on the gauge.  Penalty and share of the scans are those of the smallest error when one
    patient at a time is left out, known in closed form (Allen 1974); the share is 0 where the scans do not help.

    Args:
        out_channels: number of targets.
        covariates: number of covariates; may be 0.
        mode_sizes: mode sizes of the tensor trains.
        rank: bond rank to which the template is rounded.

    Attributes:
        share: of the scans in the kernel; of the last fit, as is ``penalty``.

    Example:
        >>> trains = TensorTrain([torch.rand(9, 1, 8, 1).double()])
        >>> readout = RidgeReadout(out_channels=1, covariates=0, mode_sizes=[8])
        >>> left_out = readout.fit(trains, trains.inner(trains[:1]))
        >>> readout(trains).shape
        torch.Size([9, 1])
    """

    fewest = 3
    slope: Tensor
    constant: Tensor
    share: Tensor
    penalty: Tensor

    def __init__(self, out_channels: int, covariates: int, mode_sizes: Sequence[int], rank: int = 40) -> None:
        super().__init__()
        self.rank = rank
        self.template = KeptTrains(out_channels, mode_sizes, bond_ranks(mode_sizes, rank))
        self.register_buffer("slope", torch.zeros(covariates, out_channels, dtype=PRECISION))
        self.register_buffer("constant", torch.zeros(out_channels, dtype=PRECISION))
        self.register_buffer("share", torch.tensor(1.0, dtype=PRECISION))
        self.register_buffer("penalty", torch.tensor(0.0, dtype=PRECISION))

    @property
    def summary(self) -> str:
        return f"penalty {self.penalty:.1e}, share of the scans {self.share:.2f}"

    def forward(self, trains: TensorTrain, covariates: Tensor | None = None, rows: Tensor | None = None) -> Tensor:
        predictions = trains.to(self.constant.device).inner(self.template()) + self.constant
        predictions = predictions if rows is None else predictions[rows]
        return predictions if covariates is None else predictions + covariates.to(self.slope) @ self.slope

    @torch.no_grad()
    def fit(
        self,
        trains: TensorTrain,
        target: Tensor,
        covariates: Tensor | None = None,
        rows: Tensor | None = None,
        patients: Tensor | None = None,
    ) -> Tensor:
        """Fit to known targets, see :meth:`Readout.fit`.

        Args:
            trains: ``B`` tensor trains.
            target: ``[R, out_channels]``.
            covariates: ``[R, covariates]``.
            rows: int64 ``[R]``.
            patients: rows of equal numbers are left out together, ``[R]``; default: those of one tensor train.

        Returns:
            What is predicted for each row when its patient is left out, ``[R, out_channels]``.
        """
        trains, target = trains.to(self.constant.device), target.to(self.constant)
        places = torch.arange(len(trains)) if rows is None else rows.cpu()
        groups = (places if patients is None else patients).to(target.device)
        if len(groups.unique()) < self.fewest:
            raise ValueError(f"ridge regression needs three patients or more, got {len(groups.unique())}")
        together = (groups[:, None] == groups).to(target)
        known = self.slope.new_zeros(len(target), len(self.slope)) if covariates is None else covariates.to(self.slope)
        scans, unit_scans = _unit(_centred(trains.inner(trains)[places][:, places]))
        others, unit_others = _unit(_centred(known @ known.mT))
        best = torch.inf
        for share in SHARES if len(self.slope) else (1.0,):
            for penalty, residual, weights in _left_out(share * scans + (1 - share) * others, target - target.mean(0), together):
                error = residual.square().mean().item()
                if error < best:
                    best, dual, left_out = error, weights, target - residual
                    self.share.fill_(share)
                    self.penalty.fill_(penalty)
        each = self.constant.new_zeros(len(trains), len(self.constant)).index_add_(0, places.to(dual.device), dual)
        self.template.keep(_combination(trains, each * self.share / unit_scans, self.rank))
        self.slope.copy_(known.mT @ dual * (1 - self.share) / unit_others)
        self.constant.zero_()
        self.constant.copy_((target - self(trains, known, places)).mean(0))
        self.fitted.fill_(True)
        return left_out


def _centred(kernel: Tensor) -> Tensor:
    """The kernel of vectors whose mean is 0."""
    kernel = kernel - kernel.mean(0)
    return kernel - kernel.mean(1, keepdim=True)


def _unit(kernel: Tensor) -> tuple[Tensor, Tensor]:
    """The kernel in units of its mean eigenvalue, and that unit; 1 for a kernel of zeros."""
    unit = kernel.diagonal().mean()
    unit = torch.where(unit > 0, unit, 1.0)
    return kernel / unit, unit


def _left_out(kernel: Tensor, target: Tensor, together: Tensor) -> list[tuple[float, Tensor, Tensor]]:
    """For each penalty, the errors ``[R, O]`` of rows that are left out, and the dual weights ``[R, O]`` of all.

    Args:
        kernel: centred, ``[R, R]``.
        target: centred, ``[R, O]``.
        together: 1 where two rows are left out together, else 0, ``[R, R]``.
    """
    values, vectors = torch.linalg.eigh(kernel)
    values, rotated = values.clamp(min=0), vectors.mT @ target
    result = []
    for penalty in PENALTIES:
        weights = vectors @ (rotated / (values + penalty)[:, None])
        hat = (vectors * (values / (values + penalty))) @ vectors.mT + 1 / len(target)
        missing = torch.eye(len(target), dtype=hat.dtype, device=hat.device) - hat * together
        result.append((penalty, torch.linalg.solve(missing, penalty * weights), weights))
    return result


def _combination(trains: TensorTrain, weights: Tensor, rank: int) -> TensorTrain:
    """``O`` weighted sums of ``B`` tensor trains, rounded while they grow; weights ``[B, O]``."""
    outputs = weights.shape[1]
    total = trains[[0] * outputs] * weights[0]
    for b in range(1, len(trains)):
        total = total + trains[[b] * outputs] * weights[b]
        if len(total.shape) > 1 and (b % SUMMED == 0 or b == len(trains) - 1):
            total = total.round(rank=rank)
    return total
