"""One decomposition after another."""

from __future__ import annotations

import pytest
import torch

from monai_cpic.networks import RandomCells, SampledField, ScanCross
from monai_cpic.networks.decompositions import Curriculum
from monai_cpic.tensor_train import qtt_modes
from monai_cpic.testing import DecompositionTestCase

SHAPE = (8, 8, 4)


def cells() -> RandomCells:
    return RandomCells(SHAPE, n_dims=3, cells=16)


def cross() -> ScanCross:
    return ScanCross(qtt_modes(SHAPE, channels=3), rank=4, cells=16)


class TestCurriculum(DecompositionTestCase):
    def decomposition(self) -> Curriculum:
        return Curriculum(cells(), cross(), steps=0)

    def test_the_first_steps_are_those_of_the_first_decomposition(self) -> None:
        curriculum, volumes = Curriculum(cells(), cross(), steps=2), self.volumes(cells())

        def found(decomposition: RandomCells | ScanCross | Curriculum, step: int | None) -> SampledField:
            return decomposition(self.field(decomposition, volumes), step)

        for step, alone in ((1, cells()), (2, cells()), (3, cross()), (None, cross())):
            expected, same = found(alone, step), found(curriculum, step)
            assert same.trains.shape == expected.trains.shape
            torch.testing.assert_close((same.means, same.maxima), (expected.means, expected.maxima))


def test_decompositions_of_two_grids_are_refused() -> None:
    with pytest.raises(ValueError, match=r"got \(8, 8, 4\) with 3 and \(8, 8, 8\) with 3"):
        Curriculum(cells(), RandomCells((8, 8, 8), n_dims=3), steps=1)


def test_steps_are_not_negative() -> None:
    with pytest.raises(ValueError, match="negative, got -1"):
        Curriculum(cells(), cross(), steps=-1)
