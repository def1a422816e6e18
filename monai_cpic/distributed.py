"""Batches that are distributed over the processes of a training, treated as one joint batch.

Batch statistics (:class:`~monai_cpic.networks.TTBottleneck`), features (the projections) and losses
(:class:`~monai_cpic.losses.JointMean`) are computed with these functions, so that several processes train as one process would
with all volumes in one batch.  Without distribution, each function returns what it is given, or its mean or size.
:func:`join_processes` is for predictions, which need nothing of each other.
"""

from __future__ import annotations

import os
from datetime import timedelta

import ignite.distributed as idist
import torch
import torch.distributed
from monai.utils import evenly_divisible_all_gather
from torch import Tensor

from monai_cpic.tensor_train import TensorTrain

__all__ = ["join_processes", "joint_mean", "joint_rows", "joint_size", "joint_trains", "process_count"]


def join_processes() -> None:
    """Join the other processes that torchrun, or srun of SLURM, has started with this one; alone, nothing happens.

    They wait for each other as long as it takes.  Where there are GPUs, each process uses one, in turn.
    """
    if int(os.environ.get("WORLD_SIZE", os.environ.get("SLURM_STEP_NUM_TASKS", 1))) > 1:
        idist.initialize("gloo", timeout=timedelta(days=365))
        if torch.cuda.is_available():
            torch.cuda.set_device(idist.get_local_rank() % torch.cuda.device_count())


def process_count() -> int:
    """The number of processes; 1 without distribution."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return 1
    return torch.distributed.get_world_size()


def joint_trains(trains: TensorTrain) -> TensorTrain:
    """The tensor trains of all processes, without gradient, in the order in which a DistributedSampler distributes them."""
    cores = [core.detach() for core in trains]
    flat = torch.cat([core.flatten(1) for core in cores], 1)
    gathered = evenly_divisible_all_gather(flat, concat=False)
    if not isinstance(gathered, Tensor):  # there are several processes
        order = sorted((position, rank) for rank, part in enumerate(gathered) for position in range(len(part)))
        flat = torch.stack([gathered[rank][position] for position, rank in order])
    parts = flat.split([core[0].numel() for core in cores], 1)
    return TensorTrain([part.reshape(-1, *core.shape[1:]) for part, core in zip(parts, cores, strict=True)])


def joint_rows(values: Tensor) -> Tensor:
    """The rows ``[B, ...]`` of all processes, without gradient, process by process."""
    rows: Tensor = evenly_divisible_all_gather(values, concat=True)
    return rows


def joint_mean(values: Tensor) -> Tensor:
    """The mean ``[F]`` over the rows ``[B, F]`` of all processes, differentiable in the rows of this one."""
    if process_count() == 1:
        return values.mean(0)
    from torch.distributed.nn.functional import all_reduce  # missing where torch is built without distribution

    total: Tensor = all_reduce(values.sum(0))
    return total / joint_size(values)


def joint_size(values: Tensor) -> int:
    """The number of rows of all processes."""
    if process_count() == 1:
        return len(values)
    size = torch.tensor(len(values), device=values.device)
    torch.distributed.all_reduce(size)
    return int(size)
