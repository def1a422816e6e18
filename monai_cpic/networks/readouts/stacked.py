"""Two readouts as one: a weighted mean of their predictions."""

from __future__ import annotations

import torch
from torch import Tensor

from monai_cpic.networks.readouts.evidence import log_evidence
from monai_cpic.networks.readouts.score import ScoreReadout, places_of
from monai_cpic.networks.sampled_field import SampledField

__all__ = ["StackedReadout"]

SHARES = 21  # candidates for the share of the first readout, from 0 to 1
EVIDENCE = 0.25  # of an observation: errors of patients whom the encoder has been trained on say less than those of new ones
LEAN = 2  # to the second readout: the power of its share in the prior


class StackedReadout(ScoreReadout):
    r"""A weighted mean of what two readouts predict: of what is fine and sampled, and of what is coarse and whole.

    The two err differently, so that their mean is often better than either.  For each target, the shares :math:`s` of the first
    are averaged with the weights :math:`(1-s)^2 \epsilon_s^{-n/8}`, where :math:`\epsilon_s` is the mean squared error with
    that share for patients who were left out, and :math:`n` the number of patients: with few of them about a quarter is the
    first's, and with many it goes to the share with the smallest error (0.95 at most).  The encoder of what is fine has been
    trained on those whom the readout leaves out, which makes their errors look small.  So the weights lean to the second before
    an error is known, and each patient counts as a quarter of an observation.

    References: stacked generalization, D. H. Wolpert, Neural Networks 5(2), 1992; Bayesian model averaging, J. A. Hoeting et al.,
    Statistical Science 14(4), 1999.

    Args:
        fine: the first readout.
        coarse: the second.

    Attributes:
        share: of the first readout in each target, float64 ``[out_channels]``.

    Example:
        >>> from monai_cpic.networks import CoarseReadout, RidgeReadout
        >>> fine = RidgeReadout(1, 0, n_dims=4, mode_sizes=[32])
        >>> stacked = StackedReadout(fine, CoarseReadout(1, 0, spatial_shape=(16, 16, 8)))
    """

    share: Tensor

    def __init__(self, fine: ScoreReadout, coarse: ScoreReadout) -> None:
        super().__init__()
        self.fine = fine
        self.coarse = coarse
        self.fewest = max(fine.fewest, coarse.fewest)
        self.reads_coarse = fine.reads_coarse or coarse.reads_coarse
        self.out_channels = fine.out_channels
        self.register_buffer("share", torch.full((fine.out_channels,), 0.25, dtype=torch.float64))

    @property
    def summary(self) -> str:
        shares = ", ".join(f"{share:.2f}" for share in self.share.tolist())
        return f"{shares} of the first of two: {self.fine.summary}; {self.coarse.summary}"

    def forward(self, field: SampledField, covariates: Tensor | None = None, rows: Tensor | None = None) -> Tensor:
        return self._mean(self.fine(field, covariates, rows), self.coarse(field, covariates, rows))

    @torch.no_grad()
    def fit(
        self,
        field: SampledField,
        target: Tensor,
        covariates: Tensor | None = None,
        rows: Tensor | None = None,
        patients: Tensor | None = None,
    ) -> Tensor:
        fine, coarse = (readout.fit(field, target, covariates, rows, patients) for readout in (self.fine, self.coarse))
        target = target.to(fine)
        shares = torch.linspace(0, 1, SHARES, dtype=fine.dtype, device=fine.device)
        errors = torch.stack([(share * fine + (1 - share) * coarse - target).square().mean(0) for share in shares.tolist()])
        groups = places_of(field, rows, patients, target, self.fewest)[1]
        likelihood = log_evidence(errors, int(groups.max()) + 1, EVIDENCE)
        prior = LEAN * (1 - shares).log()
        self.share.copy_(shares @ (prior[:, None] + likelihood).softmax(0))
        self.fitted.fill_(True)
        return self._mean(fine, coarse)

    def _mean(self, fine: Tensor, coarse: Tensor) -> Tensor:
        return self.share * fine + (1 - self.share) * coarse
