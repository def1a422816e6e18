"""Each of MONAI's lazy spatial transforms, and chains of them, against the same transforms of the dense volume."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import monai.transforms as mt
import pytest
import torch
from dense import KEY, compare, compare_decided
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor

AFFINE = torch.tensor([[0.0, 0.9, 0, -30], [-0.8, 0, 0, 25], [0, 0, 2.0, 10], [0, 0, 0, 1]], dtype=torch.float64)
Transform = Callable[[int], Any]  # of the number of axes
CUBIC: dict[str, Any] = {"mode": 3}  # the order of a spline, which MONAI's annotations leave out

# Whose grids have voxels of the scan, and whose have not.
EXACT: dict[str, Transform] = {
    "Orientationd": lambda axes: mt.Orientationd(KEY, "LPS"[:axes], labels=(("L", "R"), ("P", "A"), ("I", "S"))[:axes]),
    "SpatialPadd": lambda axes: mt.SpatialPadd(KEY, (29, 20, 17)[:axes]),
    "CenterSpatialCropd": lambda axes: mt.CenterSpatialCropd(KEY, (11, 30, 9)[:axes]),
    "ResizeWithPadOrCropd": lambda axes: mt.ResizeWithPadOrCropd(KEY, (30, 12, 16)[:axes]),
    "Flipd": lambda axes: mt.Flipd(KEY, (0, axes - 1)),
    "Rotate90d": lambda axes: mt.Rotate90d(KEY, 1, (0, axes - 1)),
    "RandFlipd": lambda axes: mt.RandFlipd(KEY, 0.5 if axes == 3 else 1.0, 0),  # MONAI records a 2-D flip not done as 3-D
}
INTERPOLATED: dict[str, Transform] = {
    "Spacingd": lambda axes: mt.Spacingd(KEY, (1.0, 1.2, 1.5)[:axes]),
    "Resized": lambda axes: mt.Resized(KEY, (13, 27, 14)[:axes]),
    "Zoomd": lambda axes: mt.Zoomd(KEY, (0.6, 1.3, 1.0)[:axes], keep_size=False),
    "RandAffined": lambda axes: mt.RandAffined(
        KEY, None, 1.0, rotate_range=0.3, shear_range=(0.1,) * axes, translate_range=3, scale_range=0.2
    ),
    "RandRotated": lambda axes: mt.RandRotated(KEY, 0.4, 0.4, 0.4, prob=1.0),
    "RandZoomd": lambda axes: mt.RandZoomd(KEY, 1.0, 0.8, 1.2),
}
CHAINS = {**EXACT, **INTERPOLATED}


def image(axes: int) -> MetaTensor:
    return MetaTensor(torch.rand(2, 22, 18, 14)[(..., 0)[: 4 - axes]] * 1400 - 1000, affine=AFFINE)


@pytest.mark.parametrize("padding_mode", ["border", "zeros"])
@pytest.mark.parametrize("mode", ["bilinear", "nearest", 0, 3])
@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("name", EXACT)
def test_moving_voxels(name: str, axes: int, mode: str | int, padding_mode: str) -> None:
    compare(image(axes), lambda: [EXACT[name](axes)], mode, padding_mode, 0)


@pytest.mark.parametrize("padding_mode", ["border", "zeros"])
@pytest.mark.parametrize("mode", ["bilinear", "nearest", 3])
@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("name", INTERPOLATED)
def test_interpolating(name: str, axes: int, mode: str | int, padding_mode: str) -> None:
    assert compare_decided(image(axes), lambda: [INTERPOLATED[name](axes)], mode, padding_mode) < 0.9


@settings(max_examples=40, deadline=None)
@given(
    names=st.lists(st.sampled_from(sorted(CHAINS)), min_size=1, max_size=4),
    axes=st.sampled_from([2, 3]),
    mode=st.sampled_from(["bilinear", "nearest", 3]),
    padding_mode=st.sampled_from(["border", "zeros"]),
)
def test_chains(names: list[str], axes: int, mode: str | int, padding_mode: str) -> None:
    torch.manual_seed(0)
    compare_decided(image(axes), lambda: [CHAINS[name](axes) for name in names], mode, padding_mode)


@pytest.mark.parametrize("shape", [None, (13, 20, 25)])
def test_alignment_of_corners(shape: tuple[int, ...] | None) -> None:
    def affine() -> Any:
        return mt.Affined(KEY, (0.3, 0.1, 0.0), spatial_size=shape, align_corners=True)

    chains: list[Callable[[], list[Any]]] = [
        lambda: [affine()],
        lambda: [affine(), mt.Flipd(KEY, 0)],
        lambda: [mt.Flipd(KEY, 0), affine()],
    ]
    for chain in chains:
        for padding_mode in ("border", "zeros"):
            compare(image(3), chain, "bilinear", padding_mode, 1e-4)
    compare(image(3), lambda: [mt.Resized(KEY, (11, 32, 14), mode="trilinear", align_corners=True)], "bilinear", "border", 1e-4)
    with pytest.raises(RuntimeError) as error:
        compare(image(3), lambda: [affine()], 3, "border", 1e-4)
    assert "align_corners=True" in str(error.value.__cause__)


@pytest.mark.parametrize("padding_mode", ["border", "zeros"])
def test_cubic_zoom(padding_mode: str) -> None:
    volume = compare(image(3), lambda: [mt.Zoomd(KEY, 2, keep_size=False, **CUBIC)], 3, padding_mode, 1e-4)
    assert volume.shape == (2, 44, 36, 28)


@pytest.mark.parametrize("transform", [mt.Zoomd(KEY, 2, **CUBIC), mt.RandZoomd(KEY, 1.0, 1.5, 2, **CUBIC)])
def test_a_spline_that_freezing_does_not_know_of(transform: Any) -> None:
    with pytest.raises(RuntimeError) as error:
        compare(image(3), lambda: [transform], "bilinear", "border", 1e-4)
    assert "use FreezeLazyVolumed(..., mode=3)" in str(error.value.__cause__)


def test_labels_are_not_mixed() -> None:
    with pytest.raises(RuntimeError) as error:
        compare(image(3), lambda: [mt.Spacingd(KEY, 1.3, mode="nearest")], "bilinear", "border", 1e-4)
    assert "use FreezeLazyVolumed(..., mode='nearest')" in str(error.value.__cause__)
