"""Families whose outputs are a slope times the score, plus a constant for each output."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from monai_cpic.networks.families.base import Family

__all__ = ["AffineFamily", "minimise"]

PENALTY = 1e-2  # of the distance to what is known without a score; divided by the number of rows


class AffineFamily(Family):
    """A family whose outputs are logits, ``slope * score + constant``.

    One slope, and a constant for each output, minimise the loss of rows that were left out.  A small penalty keeps them finite
    where a score separates the rows, or an output never occurs.  A score whose slope is negative points to the wrong rows and
    says nothing: the outputs are then those without a score.

    Args:
        outputs: describes each of the outputs.
        scores: number of scores, 1 or that of the outputs.
    """

    def __init__(self, outputs: Sequence[object], scores: int = 1) -> None:
        super().__init__(outputs, scores, parameters=1 + len(outputs))

    @abstractmethod
    def constants(self, target: Tensor) -> Tensor:
        """The outputs without a score, float64 ``[O]``, from targets ``[R, K]``."""

    def fit(self, scores: Tensor, target: Tensor) -> None:
        alone = torch.cat([self.link.new_zeros(1), self.constants(target)])

        def loss(link: Tensor) -> Tensor:
            return self.loss(_linked(scores.double(), link), target) + PENALTY * (link - alone).square().sum() / len(target)

        best = minimise(loss, alone)
        self.link.copy_(best if best[0] > 0 else alone)

    def forward(self, scores: Tensor) -> Tensor:
        return _linked(scores, self.link)


def minimise(loss: Callable[[Tensor], Tensor], start: Tensor) -> Tensor:
    """The minimiser of a smooth convex function of a few parameters, from a start, by L-BFGS.

    Example:
        >>> minimise(lambda x: (x - 3).square().sum(), torch.zeros(1, dtype=torch.float64)).round(decimals=6)
        tensor([3.], dtype=torch.float64)
    """
    with torch.enable_grad():
        found = start.detach().clone().requires_grad_()
        optimizer = torch.optim.LBFGS([found], max_iter=100, line_search_fn="strong_wolfe")

        def closure() -> Tensor:
            optimizer.zero_grad()
            value = loss(found)
            value.backward()
            return value

        optimizer.step(closure)
    return found.detach()


def _linked(scores: Tensor, link: Tensor) -> Tensor:
    return link[0] * scores + link[1:]
