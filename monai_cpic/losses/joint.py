"""The mean loss of a batch that is distributed unevenly over processes."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from monai_cpic.distributed import joint_size, process_count

__all__ = ["JointMean"]


class JointMean(nn.Module):
    """Weights a mean over rows so that the average over processes is the mean over the rows of all processes.

    DistributedDataParallel averages the gradients of the processes as if all had equally many rows.  If the number of rows
    differs, as where each patient has a number of visits, the loss of each process must be weighted by its number of rows.  In a
    single process this is the loss itself.

    Args:
        loss: a mean over the rows of its arguments.

    Example:
        >>> import torch
        >>> JointMean(torch.nn.MSELoss())(torch.tensor([1.0, 3.0]), torch.tensor([1.0, 1.0]))
        tensor(2.)
    """

    def __init__(self, loss: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """The loss of the rows ``[B, …]`` of this process, a scalar, with the weight of the process."""
        loss = self.loss(input, target)
        processes = process_count()
        return loss if processes == 1 else loss * len(target) * processes / joint_size(target)
