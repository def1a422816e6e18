"""The interface of families of targets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["Family"]


class Family(nn.Module, ABC):
    """The kind of a target, as in a generalised linear model: its outputs, their loss, and its link to a linear score.

    A head predicts the outputs, and :meth:`loss` trains it.  A :class:`~monai_cpic.networks.FamilyReadout` fits a linear score to
    the working response, and the family turns scores into outputs by a link of a few parameters (:meth:`fit`).

    Reference: P. McCullagh, J. A. Nelder, "Generalized Linear Models", 1989.

    Args:
        outputs: describes each of the outputs, such as the level of a quantile or the name of a class.
        scores: number of scores; default: one.
        parameters: number of parameters of the link.

    Attributes:
        link: parameters of the link, float64 ``[parameters]``, in the state dict.

    Raises:
        ValueError: if there is no output.
    """

    link: Tensor

    def __init__(self, outputs: Sequence[object], scores: int = 1, parameters: int = 0) -> None:
        super().__init__()
        if not outputs:
            raise ValueError("a family has at least one output, got none")
        self.outputs = len(outputs)
        self.scores = scores
        self.register_buffer("link", torch.zeros(parameters, dtype=torch.float64))

    @abstractmethod
    def loss(self, outputs: Tensor, target: Tensor) -> Tensor:
        """The mean loss of outputs ``[R, O]`` and targets ``[R, K]``, a scalar."""

    @abstractmethod
    def response(self, target: Tensor) -> Tensor:
        """What a linear score is fitted to by least squares, float64 ``[R, scores]``, from targets ``[R, K]``."""

    @abstractmethod
    def fit(self, scores: Tensor, target: Tensor) -> None:
        """Choose the link.

        Args:
            scores: of rows that were left out of the fit of the score, float64 ``[R, scores]``.
            target: ``[R, K]``.
        """

    @abstractmethod
    def forward(self, scores: Tensor) -> Tensor:
        """Outputs ``[R, O]`` of scores ``[R, scores]``."""
