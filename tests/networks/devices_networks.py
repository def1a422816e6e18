"""Small networks of every kind of part, and volumes for them, for tests of devices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from monai_cpic.data import LazyVolume, open_volume
from monai_cpic.networks import (
    TTSVD,
    ChannelMaxima,
    ChannelMeans,
    CoarseReadout,
    CPICNet,
    CrossApproximation,
    Curriculum,
    Decomposition,
    IndexStore,
    JoinedProjection,
    OctantMeans,
    PooledEncoder,
    PositionedEncoder,
    Projection,
    RandomCells,
    Readout,
    RidgeReadout,
    ScanCross,
    StackedReadout,
    TimeCourseReadout,
    TTProjection,
    TwoBranchHead,
)
from monai_cpic.tensor_train import Mode, qtt_modes

SHAPE = (8, 8, 4)
N_DIMS = 3


def _network(decomposition: Decomposition, outputs: int = 1) -> CPICNet:
    projections: list[Projection] = [ChannelMeans(N_DIMS), ChannelMaxima(N_DIMS)]
    if isinstance(decomposition, RandomCells):
        projections.append(OctantMeans(decomposition.cells, N_DIMS))
    if isinstance(decomposition, CrossApproximation | TTSVD):
        projections.append(TTProjection(2, decomposition.mode_sizes, decomposition.ranks, capacity=8))
    projection = JoinedProjection(projections)
    readout: Readout = (
        StackedReadout(RidgeReadout(1, 2, N_DIMS, decomposition.scan_sizes), CoarseReadout(1, 2, SHAPE))
        if outputs == 1
        else TimeCourseReadout((0.2, 0.5, 0.8), 2, RidgeReadout(1, 0, N_DIMS, decomposition.scan_sizes))
    )
    return CPICNet(
        encoder=PositionedEncoder(PooledEncoder(1, N_DIMS, steps=(1, 2))),
        decomposition=decomposition,
        projection=projection,
        head=TwoBranchHead(projection.features, 2, outputs, linear_path=True),
        readout=readout,
    )


def _modes() -> list[Mode]:
    return qtt_modes(SHAPE, N_DIMS, radix=4)


NETWORKS: dict[str, Callable[[], CPICNet]] = {
    "scan and cross": lambda: _network(ScanCross(_modes(), rank=3, cells=16)),
    "random cells": lambda: _network(RandomCells(SHAPE, N_DIMS, 16), outputs=4),
    "cross": lambda: _network(CrossApproximation(_modes(), rank=3, indices=IndexStore(hold=2))),
    "curriculum": lambda: _network(Curriculum(RandomCells(SHAPE, N_DIMS, 16), ScanCross(_modes(), 3, 16), steps=1)),
    "svd": lambda: _network(TTSVD(_modes(), rank=3)),
}


def volumes(count: int = 4) -> list[LazyVolume]:
    """Volumes of different shapes, with keys."""
    generator = torch.Generator().manual_seed(3)
    shapes = [(1, 8, 8 - number % 3, 4) for number in range(count)]
    arrays = [torch.randint(-1000, 1000, shape, generator=generator, dtype=torch.int16) for shape in shapes]
    return [replace(open_volume(array), key=str(number)).scaled(scaled) for number, array in enumerate(arrays)]


def scaled(patches: Tensor) -> Tensor:
    return patches / 1000
