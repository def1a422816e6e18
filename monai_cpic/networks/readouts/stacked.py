"""A readout in two steps: a regression on the scans, then a head on its predictions and the covariates."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from monai_cpic.networks.readouts.base import Readout
from monai_cpic.networks.readouts.head import TwoBranchHead
from monai_cpic.networks.readouts.ridge import RidgeReadout
from monai_cpic.networks.sampled_field import SampledField

__all__ = ["StackedReadout"]

EPOCHS, BATCH, LEARNING_RATE, WEIGHT_DECAY = 40, 16, 5e-3, 1.0  # chosen in docs/benchmarks.md


class StackedReadout(Readout):
    """Ridge regression on latent fields for the target that all rows of a scan share, then a head for the targets of the rows.

    The head takes the prediction of the regression and the covariates.  An encoder overfits the scans that it was trained on, and
    a head that is trained on its features of these scans relies on them too much.  This head is therefore trained on the
    predictions of the regression for scans that are left out: stacked generalization (D. H. Wolpert, Neural Networks 5(2), 1992).

    Args:
        out_channels: outputs of the head.
        covariates: number of covariates.
        n_dims: channels of the latent field.
        mode_sizes: mode sizes of the scan's tensor trains.
        loss_function: loss of the head for outputs ``[R, out_channels]`` and targets ``[R, K]``.

    Example:
        >>> from monai_cpic.networks import SampledField
        >>> from monai_cpic.tensor_train import TensorTrain
        >>> scan = TensorTrain([torch.rand(9, 1, 8, 1).double()])
        >>> field = SampledField(scan, means=torch.rand(9, 2).double(), maxima=torch.rand(9, 2).double(), scan=scan)
        >>> age, target = torch.rand(9, 1), torch.rand(9, 2)
        >>> readout = StackedReadout(out_channels=2, covariates=1, n_dims=2, mode_sizes=[8])
        >>> readout.fit(field, target, age)
        >>> readout(field, age).shape
        torch.Size([9, 2])
    """

    fewest = RidgeReadout.fewest

    def __init__(
        self,
        out_channels: int,
        covariates: int,
        n_dims: int,
        mode_sizes: Sequence[int],
        loss_function: Callable[[Tensor, Tensor], Tensor] = nn.functional.mse_loss,
    ) -> None:
        super().__init__()
        self._loss = (loss_function,)  # not a part of the network, whose weights must load without it
        self.ridge = RidgeReadout(1, 0, n_dims, mode_sizes)
        self.head = TwoBranchHead(0, covariates + 1, out_channels).requires_grad_(False)  # trained by fit alone

    @property
    def summary(self) -> str:
        return self.ridge.summary

    def forward(self, field: SampledField, covariates: Tensor | None = None, rows: Tensor | None = None) -> Tensor:
        predicted = self.ridge(field, rows=rows)
        parameter = next(self.head.parameters())
        others = predicted.new_zeros(len(predicted), self.head.covariates - 1) if covariates is None else covariates
        joined = torch.cat([others.to(parameter), predicted.to(parameter)], 1)
        return self.head(joined[:, :0], joined)

    def fit(
        self,
        field: SampledField,
        target: Tensor,
        covariates: Tensor | None = None,
        rows: Tensor | None = None,
    ) -> None:
        """Fit the regression to the last column of the target, then train a new head with a fixed seed: AdamW, one cycle.

        Args:
            field: ``B`` latent fields.
            target: ``[R, K]``; the last column must be the same in all rows of a tensor train.
            covariates: ``[R, covariates]``.
            rows: index of each row's field, int64 ``[R]``.
        """
        parameter = next(self.head.parameters())
        places = torch.arange(len(field)) if rows is None else rows.cpu()
        seen, first = torch.unique(places, return_inverse=True)
        chosen = torch.stack([(first == k).nonzero()[0, 0] for k in range(len(seen))])  # one row of each
        left_out = self.ridge.fit(field[seen], target[chosen.to(target.device), -1:])[first]
        others = target.new_zeros(len(target), self.head.covariates - 1) if covariates is None else covariates
        joined, target = torch.cat([others.to(parameter), left_out.to(parameter)], 1), target.to(parameter)
        devices = [parameter.device] if parameter.is_cuda else []
        with torch.enable_grad(), torch.random.fork_rng(devices):
            torch.manual_seed(0)
            head = TwoBranchHead(0, self.head.covariates, self.head.out_channels).to(parameter)
            optimizer = torch.optim.AdamW(head.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
            steps = EPOCHS * -(-len(seen) // BATCH)
            scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
            for _ in range(EPOCHS):
                for part in torch.randperm(len(seen)).split(BATCH):
                    batch = torch.isin(first, part).to(joined.device)
                    optimizer.zero_grad()
                    self._loss[0](head(joined[batch][:, :0], joined[batch]), target[batch]).backward()
                    optimizer.step()
                    scheduler.step()
        self.head.load_state_dict(head.state_dict())
        self.fitted.fill_(True)
