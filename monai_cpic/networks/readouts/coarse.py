"""Ridge regression on the whole scan at low resolution."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from monai_cpic.networks.coarse_scan import coarse_size
from monai_cpic.networks.readouts.kernel_ridge import ROUNDING, averaged_fit, check_finite, members_of, unit_kernel
from monai_cpic.networks.readouts.score import ScoreReadout, places_of, with_covariates
from monai_cpic.networks.sampled_field import SampledField
from monai_cpic.networks.scan_summary import summary_size

__all__ = ["CoarseReadout"]

PRECISION = torch.float64


class CoarseReadout(ScoreReadout):
    """Predictions as a linear function of the coarse scan, of its summary, and of covariates: nothing is encoded.

    With a penalty, it is regression on the principal components of the coarse scans, of which the small ones are shrunk the most
    (:func:`~monai_cpic.networks.coarse_scan`).  Where broad patterns decide and patients are few, this is as good as what an
    encoder learns, and it errs elsewhere.  All channels count the same, whatever their units, and in each of them the cells of
    the grid as much as the parts of the volume; so do the numbers of the summary (:func:`~monai_cpic.networks.scan_summary`).
    Penalties and weights of coarse scan, summary and covariates are averaged
    (:func:`~monai_cpic.networks.readouts.kernel_ridge.averaged_fit`).  A number of the summary beyond those of the fit counts as
    the nearest of them: a scan of another kind is not extrapolated to.

    Args:
        out_channels: number of targets.
        covariates: number of covariates; may be 0.
        spatial_shape: the grid of the network.
        in_channels: channels of the volumes.

    Attributes:
        weights: mean weights of the coarse scan, of its summary, and of covariates, in the last fit; their sum is 1.
        penalty: the geometric mean of the penalties of the last fit, relative to the mean eigenvalue of the kernel.

    Example:
        >>> from monai_cpic.networks import SampledField
        >>> from monai_cpic.tensor_train import TensorTrain
        >>> scan = TensorTrain([torch.rand(9, 1, 8, 1).double()])
        >>> means = torch.rand(9, 2).double()
        >>> field = SampledField(scan, means, means, scan, coarse=torch.rand(9, 29).double())
        >>> readout = CoarseReadout(1, 0, spatial_shape=(2, 2, 2))
        >>> left_out = readout.fit(field, field.coarse[:, :1])
        >>> readout(field).shape
        torch.Size([9, 1])
    """

    fewest = 3
    reads_coarse = True
    slope: Tensor
    constant: Tensor
    lowest: Tensor
    highest: Tensor
    weights: Tensor
    penalty: Tensor

    def __init__(self, out_channels: int, covariates: int, spatial_shape: Sequence[int], in_channels: int = 1) -> None:
        super().__init__()
        self.out_channels = out_channels
        size = coarse_size(spatial_shape, in_channels)
        summary = summary_size(in_channels, len(spatial_shape))
        groups = 2 * in_channels  # cells and parts of each channel
        self.sizes = (*[(size - summary) // groups] * groups, summary, covariates)
        self.register_buffer("slope", torch.zeros(size + covariates, out_channels, dtype=PRECISION))
        self.register_buffer("constant", torch.zeros(out_channels, dtype=PRECISION))
        self.register_buffer("lowest", torch.zeros(summary, dtype=PRECISION))
        self.register_buffer("highest", torch.zeros(summary, dtype=PRECISION))
        self.register_buffer("weights", torch.tensor([1.0, 0.0, 0.0], dtype=PRECISION))
        self.register_buffer("penalty", torch.tensor(0.0, dtype=PRECISION))

    @property
    def summary(self) -> str:
        scan, summary, covariates = self.weights.tolist()
        return (
            f"penalty {self.penalty:.1e}, weights {scan:.2f} of the coarse scan, {summary:.2f} of its summary, "
            f"{covariates:.2f} of covariates"
        )

    def forward(self, field: SampledField, covariates: Tensor | None = None, rows: Tensor | None = None) -> Tensor:
        known = self._known(field, covariates, rows)
        summary = known.split(self.sizes, 1)[-2]
        beyond = summary - summary.clamp(self.lowest, self.highest)
        return known @ self.slope - beyond @ self.slope.split(self.sizes)[-2] + self.constant

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
        target = target.to(self.constant)
        places, groups = places_of(field, rows, patients, target, self.fewest)
        *scan, summary, others = self._known(field, covariates, places).split(self.sizes, 1)
        for name, part in (*(("coarse scan", part) for part in scan), ("summary", summary), ("covariates", others)):
            check_finite(name, part)
        self.lowest.copy_(summary.amin(0))
        self.highest.copy_(summary.amax(0))
        spread = _spread(summary)
        parts = (*scan, summary / spread, others)
        deviations = [part - part.mean(0) for part in parts]
        kernels, units = zip(
            *(unit_kernel(each @ each.mT, part.square().sum(1).mean()) for each, part in zip(deviations, parts, strict=True)),
            strict=True,
        )
        kernel, unit = unit_kernel(torch.stack(kernels[:-2]).sum(0))
        found = averaged_fit((kernel, *kernels[-2:]), target, members_of(groups))
        self.weights.copy_(found.weights)
        self.penalty.copy_(found.penalty)
        duals = (*[found.duals[0] / unit] * len(scan), *found.duals[1:])
        slopes = [each.mT @ dual / size for each, dual, size in zip(deviations, duals, units, strict=True)]
        slopes[-2] /= spread[:, None]
        self.slope.copy_(torch.cat(slopes))
        self.constant.zero_()
        self.constant.copy_((target - self(field, covariates, places)).mean(0))
        self.fitted.fill_(True)
        return found.left_out

    def _known(self, field: SampledField, covariates: Tensor | None, rows: Tensor | None) -> Tensor:
        """The coarse scan and its summary, then the covariates, of each row."""
        if field.coarse is None:
            raise ValueError("this readout needs the coarse scan: set SampledField.coarse, see coarse_scan")
        return with_covariates(field.coarse.to(self.slope), covariates, rows, self.sizes[-1])


def _spread(part: Tensor) -> Tensor:
    """The deviation of each column of ``[R, P]``, by which it is divided; infinite if it is no more than rounding."""
    variance = part.var(0, correction=0)
    return variance.sqrt().where(variance > ROUNDING * part.square().mean(0), math.inf)
