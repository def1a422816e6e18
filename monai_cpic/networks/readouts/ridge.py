"""Ridge regression on inner products of tensor trains, in closed form."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from monai_cpic.networks.kept_trains import KeptTrains
from monai_cpic.networks.readouts.base import Readout
from monai_cpic.networks.sampled_field import SampledField
from monai_cpic.tensor_train import TensorTrain, bond_ranks

__all__ = ["RidgeReadout"]

SHARES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)  # weight of the scans in the kernel; covariates have the rest
PENALTIES = [10.0 ** (k / 4) for k in range(-20, 13)]  # relative to the mean eigenvalue of the kernel
SUMMED = 8  # tensor trains that are added before their sum is rounded to the rank
PRECISION = torch.float64


class RidgeReadout(Readout):
    """Predictions as a linear function of the whole tensor train and of the covariates.

    While a head depends on a few features, this readout depends on the whole tensor train: ``y = ⟨T, W⟩ + z v + c``, where the
    template ``W = Σ_i α_i T_i`` is a combination of the tensor trains of the fit.  This is kernel ridge regression (Saunders,
    Gammerman and Vovk 1998) on inner products, which do not depend on the gauge.  The penalty and the share of the scans in the
    kernel minimise the error when one patient at a time is left out, which has a closed form (Allen 1974).  The share is 0 if the
    scans do not help.

    Args:
        out_channels: number of targets.
        covariates: number of covariates; may be 0.
        mode_sizes: mode sizes of the tensor trains.
        rank: bond rank to which the template is rounded.

    Attributes:
        share: the share of the scans in the kernel of the last fit; the covariates have the rest.
        penalty: the penalty of the last fit, relative to the mean eigenvalue of the kernel.

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

    def forward(self, field: SampledField, covariates: Tensor | None = None, rows: Tensor | None = None) -> Tensor:
        predictions = field.scan.to(self.constant.device).inner(self.template()) + self.constant
        predictions = predictions if rows is None else predictions[rows]
        return predictions if covariates is None else predictions + covariates.to(self.slope) @ self.slope

    @torch.no_grad()
    def fit(
        self,
        field: SampledField,
        target: Tensor,
        covariates: Tensor | None = None,
        rows: Tensor | None = None,
        patients: Tensor | None = None,
    ) -> Tensor:
        """Fit to known targets, see :meth:`Readout.fit`.

        Args:
            field: ``B`` latent fields.
            target: ``[R, out_channels]``.
            covariates: ``[R, covariates]``.
            rows: index of each row's tensor train, int64 ``[R]``.
            patients: number of each row's patient, ``[R]``, whose rows are left out together; default: ``rows``.

        Returns:
            The prediction for each row when its patient is left out, ``[R, out_channels]``.
        """
        trains, target = field.scan.to(self.constant.device), target.to(self.constant)
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
        self.constant.copy_((target - self(field, known, places)).mean(0))
        self.fitted.fill_(True)
        return left_out


def _centred(kernel: Tensor) -> Tensor:
    """The kernel of the centred vectors."""
    kernel = kernel - kernel.mean(0)
    return kernel - kernel.mean(1, keepdim=True)


def _unit(kernel: Tensor) -> tuple[Tensor, Tensor]:
    """The kernel divided by its mean eigenvalue, and that eigenvalue (1 for a kernel of zeros)."""
    unit = kernel.diagonal().mean()
    unit = torch.where(unit > 0, unit, 1.0)
    return kernel / unit, unit


def _left_out(kernel: Tensor, target: Tensor, together: Tensor) -> list[tuple[float, Tensor, Tensor]]:
    """For each penalty, the errors ``[R, O]`` of rows that are left out, and the dual weights ``[R, O]`` of the fit to all rows.

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
