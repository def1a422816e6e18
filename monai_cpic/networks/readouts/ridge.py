"""Ridge regression on inner products of tensor trains, in closed form."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from monai_cpic.devices import move
from monai_cpic.networks.kept_trains import KeptTrains
from monai_cpic.networks.readouts.kernel_ridge import averaged_fit, centred, check_finite, members_of, unit_kernel
from monai_cpic.networks.readouts.score import ScoreReadout, places_of, with_covariates
from monai_cpic.networks.sampled_field import SampledField
from monai_cpic.tensor_train import TensorTrain, bond_ranks

__all__ = ["RidgeReadout"]

SMALLEST_DEVIATION = 1e-4  # of a mean or a maximum of standardised channels; below it is rounding
SUMMED = 8  # tensor trains that are added before their sum is rounded to the rank
PRECISION = torch.float64


class RidgeReadout(ScoreReadout):
    """Predictions as a linear function of the scan of the latent field, of its channels' means and maxima, and of covariates.

    While a head depends on a few features, this readout depends on the vector at every place of the scan:
    ``y = ⟨T, W⟩ + f u + z v + c`` with the scan ``T``, means and maxima ``f`` and covariates ``z``, where the template
    ``W = Σ_i α_i T_i`` is a combination of the scans of the fit.  This is kernel ridge regression (Saunders, Gammerman and Vovk
    1998) on weighted sums of three kernels, which do not depend on the gauge of tensor trains, averaged over their weights and
    penalties by the errors when one patient at a time is left out
    (:func:`~monai_cpic.networks.readouts.kernel_ridge.averaged_fit`).

    Args:
        out_channels: number of targets.
        covariates: number of covariates; may be 0.
        n_dims: channels of the latent field.
        mode_sizes: mode sizes of the scan's tensor trains.
        rank: bond rank to which the template is rounded.

    Attributes:
        weights: mean weights of the scan, of means and maxima, and of covariates, in the last fit; their sum is 1.
        penalty: the geometric mean of the penalties of the last fit, relative to the mean eigenvalue of the kernel.

    Example:
        >>> from monai_cpic.networks import SampledField
        >>> scan = TensorTrain([torch.rand(9, 1, 8, 1).double()])
        >>> field = SampledField(scan, means=torch.rand(9, 2).double(), maxima=torch.rand(9, 2).double(), scan=scan)
        >>> readout = RidgeReadout(out_channels=1, covariates=0, n_dims=2, mode_sizes=[8])
        >>> left_out = readout.fit(field, scan.inner(scan[:1]))
        >>> readout(field).shape
        torch.Size([9, 1])
    """

    fewest = 3
    centre: Tensor
    scale: Tensor
    slope: Tensor
    constant: Tensor
    weights: Tensor
    penalty: Tensor

    def __init__(self, out_channels: int, covariates: int, n_dims: int, mode_sizes: Sequence[int], rank: int = 40) -> None:
        super().__init__()
        self.out_channels = out_channels
        self.rank = rank
        self.template = KeptTrains(out_channels, mode_sizes, bond_ranks(mode_sizes, rank))
        self.register_buffer("centre", torch.zeros(2 * n_dims, dtype=PRECISION))
        self.register_buffer("scale", torch.ones(2 * n_dims, dtype=PRECISION))
        self.register_buffer("slope", torch.zeros(2 * n_dims + covariates, out_channels, dtype=PRECISION))
        self.register_buffer("constant", torch.zeros(out_channels, dtype=PRECISION))
        self.register_buffer("weights", torch.tensor([1.0, 0.0, 0.0], dtype=PRECISION))
        self.register_buffer("penalty", torch.tensor(0.0, dtype=PRECISION))

    @property
    def summary(self) -> str:
        scan, features, covariates = self.weights.tolist()
        return (
            f"penalty {self.penalty:.1e}, weights {scan:.2f} of the scan, {features:.2f} of means and maxima, "
            f"{covariates:.2f} of covariates"
        )

    def forward(self, field: SampledField, covariates: Tensor | None = None, rows: Tensor | None = None) -> Tensor:
        known = self._known(field, covariates, rows)
        predictions = field.scan.to(self.constant.device).inner(self.template()) + self.constant
        return (predictions if rows is None else predictions[move(rows, predictions)]) + known @ self.slope

    @torch.no_grad()
    def fit(
        self,
        field: SampledField,
        target: Tensor,
        covariates: Tensor | None = None,
        rows: Tensor | None = None,
        patients: Tensor | None = None,
    ) -> Tensor:
        """Fit to known targets, see :meth:`ScoreReadout.fit`.

        Raises:
            ValueError: if there are fewer than three patients, a number is NaN or infinite, or the number of covariates differs
                from that of the constructor.
        """
        scan, target = field.scan.to(self.constant.device), target.to(self.constant)
        places, groups = places_of(field, rows, patients, target, self.fewest)
        self._normalise(field)
        features, others = self._known(field, covariates, places).split([len(self.centre), len(self.slope) - len(self.centre)], 1)
        similarities = scan.inner(scan)[places][:, places]
        for name, each in (("scan", similarities), ("means and maxima", features), ("covariates", others)):
            check_finite(name, each)
        kernels, units = zip(
            unit_kernel(centred(similarities), similarities.diagonal().mean()),
            unit_kernel(centred(features @ features.mT), 1.0),
            unit_kernel(centred(others @ others.mT), others.square().sum(1).mean()),
            strict=True,
        )
        found = averaged_fit(kernels, target, members_of(groups))
        self.weights.copy_(found.weights)
        self.penalty.copy_(found.penalty)
        scanned, featured, known = (dual / unit for dual, unit in zip(found.duals, units, strict=True))
        each = self.constant.new_zeros(len(field), len(self.constant)).index_add_(0, places, scanned)
        self.template.keep(_combination(scan, each, self.rank))
        self.slope.copy_(torch.cat([features.mT @ featured, others.mT @ known]))
        self.constant.zero_()
        self.constant.copy_((target - self(field, covariates, places)).mean(0))
        self.fitted.fill_(True)
        return found.left_out

    def _normalise(self, field: SampledField) -> None:
        """Centre and scale means and maxima by those of the fit."""
        features = torch.cat([field.means, field.maxima], 1).to(self.centre)
        deviation = features.std(0, correction=0)
        self.centre.copy_(features.mean(0))
        self.scale.copy_(deviation.where(deviation > SMALLEST_DEVIATION, 1.0))

    def _known(self, field: SampledField, covariates: Tensor | None, rows: Tensor | None) -> Tensor:
        """Normalised means and maxima, then the covariates, of each row."""
        features = (torch.cat([field.means, field.maxima], 1).to(self.centre) - self.centre) / self.scale
        return with_covariates(features, covariates, rows, len(self.slope) - len(self.centre))


def _combination(trains: TensorTrain, weights: Tensor, rank: int) -> TensorTrain:
    """``O`` weighted sums of ``B`` tensor trains, rounded while they grow; weights ``[B, O]``."""
    outputs = weights.shape[1]
    total = trains[[0] * outputs] * weights[0]
    for b in range(1, len(trains)):
        total = total + trains[[b] * outputs] * weights[b]
        if len(total.shape) > 1 and (b % SUMMED == 0 or b == len(trains) - 1):
            total = total.round(rank=rank)
    return total
