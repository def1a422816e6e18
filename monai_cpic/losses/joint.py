"""The mean loss of a batch that is spread unevenly over processes."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch import distributed as dist

__all__ = ["JointMean"]


class JointMean(nn.Module):
    """A mean over rows such that the average of all processes is the mean over the rows of all.

    DistributedDataParallel averages the gradients of processes as if each had as many rows.  Where a patient has any number of
    rows that is not so: this weighs each process by its rows.  Without distribution it is the loss itself.

    Args:
        loss: the mean over the rows of its arguments.

    Example:
        >>> import torch
        >>> JointMean(torch.nn.MSELoss())(torch.tensor([1.0, 3.0]), torch.tensor([1.0, 1.0]))
        tensor(2.)
    """

    def __init__(self, loss: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """A scalar: this process's part of the loss, times the number of processes."""
        loss = self.loss(input, target)
        if not (dist.is_available() and dist.is_initialized()):
            return loss
        rows = loss.new_tensor(float(len(target)))
        joint = rows.clone()
        dist.all_reduce(joint)
        return loss * rows * dist.get_world_size() / joint
