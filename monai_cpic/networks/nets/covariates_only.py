"""The baseline that does not see the scan."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from monai_cpic.networks.readouts import TwoBranchHead

__all__ = ["CovariatesOnlyNet"]


class CovariatesOnlyNet(nn.Module):
    """The head of :class:`CPICNet` on covariates alone, with the same interface.

    Args:
        covariates: number of covariates; without any, the network learns a constant.
        out_channels: number of outputs.
    """

    name = "covariates only"

    def __init__(self, covariates: int, out_channels: int = 1) -> None:
        super().__init__()
        self.head = TwoBranchHead(0, max(covariates, 1), out_channels)

    def forward(self, volumes: Any, covariates: Tensor) -> Tensor:
        """Outputs ``[B, out_channels]`` from covariates ``[B, covariates]``; the volumes are not read."""
        covariates = covariates if covariates.shape[1] else covariates.new_zeros(len(covariates), 1)
        return self.head(covariates.new_empty(len(covariates), 0), covariates)
