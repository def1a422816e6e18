"""Batches that are spread over the processes of a distributed training; in a single process nothing happens."""

from __future__ import annotations

import torch
import torch.distributed
from monai.utils import evenly_divisible_all_gather
from torch import Tensor

from monai_cpic.tensor_train import TensorTrain

__all__ = ["joint_mean", "joint_size", "joint_trains"]


def joint_trains(trains: TensorTrain) -> TensorTrain:
    """The tensor trains of all processes, without gradient, in the order in which a DistributedSampler deals them out."""
    cores = [core.detach() for core in trains]
    flat = torch.cat([core.flatten(1) for core in cores], 1)
    gathered = evenly_divisible_all_gather(flat, concat=False)
    if not isinstance(gathered, Tensor):  # there are several processes
        dealt = sorted((place, rank) for rank, part in enumerate(gathered) for place in range(len(part)))
        flat = torch.stack([gathered[rank][place] for place, rank in dealt])
    parts = flat.split([core[0].numel() for core in cores], 1)
    return TensorTrain([part.reshape(-1, *core.shape[1:]) for part, core in zip(parts, cores, strict=True)])


def joint_mean(values: Tensor) -> Tensor:
    """The mean ``[F]`` over the rows ``[B, F]`` of all processes, with the gradient to the rows of each."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return values.mean(0)
    from torch.distributed.nn.functional import all_reduce  # a module that is not there where distribution is not built in

    return all_reduce(values.sum(0)) / joint_size(values)


def joint_size(values: Tensor) -> int:
    """The number of rows of all processes."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return len(values)
    size = torch.tensor(len(values), device=values.device)
    torch.distributed.all_reduce(size)
    return int(size)
