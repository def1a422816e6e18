"""Times until an event, some of them censored, predicted by hazards."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from monai_cpic.networks.families.affine import AffineFamily

__all__ = ["HazardFamily", "survival_curve"]


class HazardFamily(AffineFamily):
    """A time and whether it ended with the event ``[R, 2]``, of which the hazard in each interval of time is predicted.

    The hazard is the probability of the event in the interval for those who reach it; the outputs are its logits.  Their loss is
    the negative log-likelihood of discrete time, a sum over the intervals that a patient has reached, and so needs no others in
    the batch.  A time that is censored after the middle of an interval counts as having passed it.

    The score is fitted to the martingale residuals of a model without covariates; a high score is a high risk.  The link adds it
    to a logit for each interval (proportional odds), with the slope that maximises the likelihood of rows that were left out.

    References: M. F. Gensheimer, B. Narasimhan, "A scalable discrete-time survival model for neural networks", PeerJ 7, 2019;
    T. M. Therneau, P. M. Grambsch, T. R. Fleming, "Martingale-based residuals for survival models", Biometrika 77(1), 1990.

    Args:
        outputs: ends of the intervals, increasing, the first of which begins at 0, in the unit of the times.

    Raises:
        ValueError: if they are not positive or do not increase, as float32.

    Example:
        >>> family = HazardFamily([1.0, 2.0])
        >>> even = torch.zeros(1, 2)  # a hazard of 1/2 in both intervals
        >>> died_in_the_second, censored_then = torch.tensor([[1.5, 1.0]]), torch.tensor([[1.2, 0.0]])
        >>> family.loss(even, died_in_the_second).exp(), family.loss(even, censored_then).exp()
        (tensor(4.), tensor(2.))
    """

    ends: Tensor

    def __init__(self, outputs: Sequence[float]) -> None:
        super().__init__(outputs)
        ends = torch.tensor([0.0, *outputs], dtype=torch.float32).double()  # rounded as times are: one at an end is not after it
        if not (ends.diff() > 0).all():
            raise ValueError(f"the ends of intervals are positive and increase, got {list(outputs)}")
        self.register_buffer("ends", ends, persistent=False)

    def loss(self, outputs: Tensor, target: Tensor) -> Tensor:
        happened, reached = self._intervals(target)
        terms = nn.functional.binary_cross_entropy_with_logits(outputs, happened.to(outputs), reduction="none")
        return (terms * reached).sum(1).mean()

    def response(self, target: Tensor) -> Tensor:
        time, event = target.double().T.contiguous()
        order = time.argsort()
        at_risk = len(time) - torch.searchsorted(time[order], time[order])  # those with a time that is not shorter
        cumulative = (event[order] / at_risk).cumsum(0)  # Nelson and Aalen
        last = torch.searchsorted(time[order], time, right=True) - 1
        return (event - cumulative[last])[:, None]

    def constants(self, target: Tensor) -> Tensor:
        happened, reached = self._intervals(target)
        return ((happened.double().sum(0) + 0.5) / (reached.double().sum(0) + 1)).logit()

    def _intervals(self, target: Tensor) -> tuple[Tensor, Tensor]:
        """Whether the event happened in each interval, and whether the interval counts, bool ``[R, T]``."""
        time, event = target.double().unbind(1)
        begins, ends = self.ends.to(time)[:-1], self.ends.to(time)[1:]
        time = time.clamp(min=torch.finfo(time.dtype).tiny)  # the first interval begins with 0
        inside = (begins < time[:, None]) & (time[:, None] <= ends)
        happened = inside & (event > 0)[:, None]
        return happened, happened | (time[:, None] >= (begins + ends) / 2)


def survival_curve(logits: Tensor) -> Tensor:
    """The probability of surviving each interval ``[R, T]``, from the logits of the hazards.

    Example:
        >>> survival_curve(torch.zeros(1, 3))
        tensor([[0.5000, 0.2500, 0.1250]])
    """
    return nn.functional.logsigmoid(-logits).cumsum(1).exp()
