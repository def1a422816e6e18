"""The prediction head: image features and covariates, joined late."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["TwoBranchHead"]


class TwoBranchHead(nn.Module):
    """Covariates pass through 500 and 100 units; joined with the features, through 100 and 20 units (paper, appendix A.4).

    Args:
        features: number of image features; 0 for a head on covariates only.
        covariates: number of covariates; 0 for a head on features only.
        out_channels: number of outputs, such as quantiles, a time or logits.
        linear_path: add a linear function of the features to the outputs; it learns faster than the layers.

    Raises:
        ValueError: if both numbers are 0.

    Example:
        >>> TwoBranchHead(features=10, covariates=8, out_channels=3)(torch.rand(4, 10), torch.rand(4, 8)).shape
        torch.Size([4, 3])
    """

    def __init__(self, features: int, covariates: int, out_channels: int, linear_path: bool = False) -> None:
        super().__init__()
        if features + covariates < 1:
            raise ValueError("a head needs features or covariates")
        self.features = features
        self.covariates = covariates
        self.out_channels = out_channels
        self.branch = nn.Sequential(nn.Linear(covariates, 500), nn.ReLU(), nn.Linear(500, 100), nn.ReLU()) if covariates else None
        self.linear = nn.Linear(features, out_channels) if linear_path else None
        joined = features + (100 if covariates else 0)
        self.trunk = nn.Sequential(nn.Linear(joined, 100), nn.ReLU(), nn.Linear(100, 20), nn.ReLU(), nn.Linear(20, out_channels))

    def forward(self, features: Tensor, covariates: Tensor | None = None) -> Tensor:
        """Outputs ``[B, out_channels]`` from features ``[B, features]`` and covariates ``[B, covariates]``.

        Missing covariates are replaced by zeros, so scale covariates such that 0 is a typical value.

        Raises:
            ValueError: if the number of covariates differs from ``self.covariates``.
        """
        if covariates is None:
            covariates = features.new_zeros(len(features), self.covariates)
        self.check(covariates)
        joined = features if self.branch is None else torch.cat([features, self.branch(covariates)], 1)
        outputs = self.trunk(joined)
        return outputs if self.linear is None else outputs + self.linear(features)

    def check(self, covariates: Tensor) -> None:
        """Refuse covariates ``[B, K]`` of another number.

        Raises:
            ValueError: if ``K`` is not ``self.covariates``.
        """
        if covariates.shape[1] != self.covariates:
            raise ValueError(f"the head takes {self.covariates} covariates, got {covariates.shape[1]}")
