"""The networks that are compared, and the readout of those that read patches."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

from learning_cohorts import Cohort

from monai_cpic.networks import (
    CoarseReadout,
    CPICNet,
    Curriculum,
    Decomposition,
    PooledEncoder,
    PositionedEncoder,
    RandomCells,
    ResNetRegressor,
    RidgeReadout,
    ScanCross,
    StackedReadout,
    VolumeRegressor,
)
from monai_cpic.tensor_train import qtt_modes

__all__ = ["METHODS", "Method", "readout_of"]

CHANNELS, CELLS = 16, 512


@dataclass(frozen=True)
class Method:
    """A network and how it is trained: AdamW, one cycle of the learning rate.

    Attributes:
        network: for a cohort.
        rate: the highest learning rate.
        batch: scans.
        reduced: whether the network reads reduced scans whole, instead of patches of the scans themselves.
    """

    network: Callable[[Cohort], VolumeRegressor]
    rate: float
    batch: int
    reduced: bool = False


def scan_and_cross(cohort: Cohort) -> VolumeRegressor:
    """A scan and the cross-approximation that it seeds."""
    return _network(cohort, _scan_cross(cohort))


def cells_then_cross(cohort: Cohort) -> VolumeRegressor:
    """The default of the bundles: random cells teach first; the training ends their part."""
    first = RandomCells(cohort.grid, CHANNELS, CELLS)
    return _network(cohort, Curriculum(first, _scan_cross(cohort), steps=sys.maxsize))


def _scan_cross(cohort: Cohort) -> ScanCross:
    return ScanCross(qtt_modes(cohort.grid, CHANNELS, radix=4), cells=CELLS)


def random_cells(cohort: Cohort) -> VolumeRegressor:
    """The same network without a cross-approximation, and with a scan of more voxels."""
    return _network(cohort, RandomCells(cohort.grid, CHANNELS, cohort.cells))


def _network(cohort: Cohort, decomposition: Decomposition) -> VolumeRegressor:
    """A normalised encoder, means and maxima with a linear path; what the readout of the bundles needs is read."""
    outputs, channels = len(cohort.names), cohort.reduced.shape[1]
    encoder = PooledEncoder(channels, CHANNELS, steps=cohort.steps)
    return CPICNet(
        out_channels=outputs,
        encoder=PositionedEncoder(encoder) if cohort.position else encoder,
        decomposition=decomposition,
        readout=readout_of(decomposition, cohort),
    )


def readout_of(decomposition: Decomposition, cohort: Cohort) -> StackedReadout:
    """The readout of the bundles, for one target."""
    fine = RidgeReadout(1, 0, CHANNELS, decomposition.scan_sizes)
    return StackedReadout(fine, CoarseReadout(1, 0, cohort.grid, cohort.reduced.shape[1]))


def resnet(cohort: Cohort) -> VolumeRegressor:
    """ResNet-34 on the reduced scans."""
    return ResNetRegressor(cohort.reduced.shape[2:], out_channels=len(cohort.names))


METHODS = {
    "C-PIC": Method(cells_then_cross, 5e-3, 16),
    "scan and cross throughout": Method(scan_and_cross, 5e-3, 16),
    "random cells": Method(random_cells, 5e-3, 16),
    "ResNet-34": Method(resnet, 1e-3, 8, reduced=True),
}
