"""Random sampled fields, and the same fields in another gauge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from monai_cpic.networks import SampledField
from monai_cpic.tensor_train import TensorTrain, bond_ranks

__all__ = ["in_another_gauge", "random_fields"]


def random_fields(
    count: int, mode_sizes: Sequence[int], ranks: Sequence[int], n_dims: int, scan_sizes: Sequence[int], seed: int = 0
) -> SampledField:
    """Sampled fields of random numbers, equal in every call.

    Args:
        count: number of fields.
        mode_sizes: mode sizes of the tensor trains.
        ranks: their bond ranks, one more than modes.
        n_dims: number of means and of maxima.
        scan_sizes: mode sizes of the scan, whose bond ranks are 2.
        seed: of the random numbers.

    Example:
        >>> random_fields(5, mode_sizes=(4, 3), ranks=(1, 2, 1), n_dims=2, scan_sizes=(6,)).means.shape
        torch.Size([5, 2])
    """
    generator = torch.Generator().manual_seed(seed)

    def trains(sizes: Sequence[int], bonds: Sequence[int]) -> TensorTrain:
        shapes = zip(bonds[:-1], sizes, bonds[1:], strict=True)
        return TensorTrain([torch.randn(count, *shape, dtype=torch.float64, generator=generator) for shape in shapes])

    means = torch.randn(count, n_dims, dtype=torch.float64, generator=generator)
    maxima = means + torch.rand(count, n_dims, dtype=torch.float64, generator=generator)
    return SampledField(trains(mode_sizes, ranks), means, maxima, trains(scan_sizes, bond_ranks(scan_sizes, 2)))


def in_another_gauge(field: SampledField) -> SampledField:
    """The same fields, whose tensor trains have other cores: a random matrix and its inverse stand at each bond."""
    return replace(field, trains=_other_cores(field.trains), scan=_other_cores(field.scan))


def _other_cores(trains: TensorTrain) -> TensorTrain:
    cores, generator = list(trains), torch.Generator().manual_seed(0)
    for k, rank in enumerate(trains.ranks[1:-1]):
        noise = torch.rand(len(trains), rank, rank, dtype=torch.float64, generator=generator)
        matrix = 2 * torch.eye(rank, dtype=torch.float64) + noise / rank  # diagonally dominant, thus invertible
        cores[k] = torch.einsum("bink,bkl->binl", cores[k], matrix)
        cores[k + 1] = torch.einsum("bij,bjnk->bink", torch.linalg.inv(matrix), cores[k + 1])
    return TensorTrain(cores)
