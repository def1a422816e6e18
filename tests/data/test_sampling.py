"""Patches on other grids against MONAI's resampling of the whole volume."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.networks.layers import AffineTransform
from monai.transforms.lazy.utils import resample
from monai.utils import LazyAttr
from scipy import ndimage
from torch import Tensor

from monai_cpic.data import ArraySource, LazyVolume, Sampling, open_function, open_volume
from monai_cpic.testing.dense import dense_patches, points_around


def whole(volume: Tensor, sampling: Sampling) -> Tensor:
    """MONAI's resampling of everything, in float64."""
    options = {
        LazyAttr.SHAPE: sampling.shape,
        LazyAttr.INTERP_MODE: sampling.mode,
        LazyAttr.PADDING_MODE: sampling.padding_mode,
        LazyAttr.DTYPE: torch.float64,
    }
    return resample(MetaTensor(volume.double()), sampling.matrix, options).as_tensor().float()


def exactly(volume: Tensor, sampling: Sampling) -> Tensor:
    """What MONAI resamples with, in float64 to the end: its own results are float32."""
    if isinstance(sampling.mode, str):
        layer = AffineTransform(mode=sampling.mode, padding_mode=sampling.padding_mode, align_corners=False)
        return layer(volume[None], torch.from_numpy(sampling.matrix), spatial_size=sampling.shape)[0]
    mode = {"border": "nearest", "zeros": "constant"}[sampling.padding_mode]
    matrix, shift = sampling.matrix[:-1, :-1], sampling.matrix[:-1, -1]
    channels = [
        ndimage.affine_transform(channel, matrix, shift, sampling.shape, order=sampling.mode, mode=mode)
        for channel in volume.numpy()
    ]
    return torch.from_numpy(np.stack(channels))


def rotation(angle: float, offset: float) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = [
        [np.cos(angle), -np.sin(angle), 0.1],
        [np.sin(angle), np.cos(angle), -0.2],
        [0.05, 0.1, 0.9],
    ]
    matrix[:3, 3] = offset
    return matrix


EXACT = {
    "identity": (np.eye(4), (20, 17, 13)),
    "shift": (np.array([[1, 0, 0, 3.0], [0, 1, 0, -4], [0, 0, 1, 0], [0, 0, 0, 1]]), (21, 19, 11)),
    "flip": (np.array([[-1, 0, 0, 19.0], [0, 1, 0, 0], [0, 0, -1, 12], [0, 0, 0, 1]]), (20, 17, 13)),
    "permute": (np.array([[0, -1, 0, 19.0], [0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1]]), (13, 20, 17)),
}
INTERPOLATED = {
    "finer": (np.array([[0.5, 0, 0, -0.25], [0, 0.7, 0, 0.1], [0, 0, 1, 0], [0, 0, 0, 1]]), (40, 24, 13)),
    "coarser": (np.diag([2.5, 2, 3, 1.0]), (8, 9, 5)),
    "turned and zoomed": (np.array([[0, -1.3, 0, 19.0], [0, 0, 0.8, 0.3], [1, 0, 0, 0], [0, 0, 0, 1]]), (13, 15, 20)),
    "partly outside": (np.array([[1.5, 0, 0, -6.2], [0, 1, 0, 4.5], [0, 0, 1, 0.25], [0, 0, 0, 1]]), (24, 20, 13)),
    "rotated": (rotation(0.4, 1.7), (18, 18, 12)),
    "half a turn": (rotation(3.0, 17.3), (18, 18, 12)),
    "one slice": (np.array([[1.2, 0, 0, 0], [0, 1.1, 0, 0], [0, 0, 1, 6.3], [0, 0, 0, 1]]), (16, 15, 1)),
}


@pytest.mark.parametrize("padding_mode", ["border", "zeros"])
@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
@pytest.mark.parametrize("name", EXACT)
def test_shifts_flips_and_permutations_are_exact(name: str, mode: str, padding_mode: str) -> None:
    values = torch.rand(2, 20, 17, 13)
    sampling = Sampling(*EXACT[name], mode=mode, padding_mode=padding_mode)
    volume = open_volume(values).sampled(sampling)
    centres = points_around(volume.shape)
    assert torch.equal(volume.gather(centres, (5, 4, 3)), dense_patches(whole(values, sampling), centres, (5, 4, 3)))


def test_single_voxels() -> None:
    values = torch.rand(2, 20, 17, 13)
    for matrix, shape in EXACT.values():
        sampling = Sampling(matrix, shape)
        centres = points_around((2, *shape))
        found = open_volume(values).sampled(sampling).gather(centres, 1)
        assert torch.equal(found, dense_patches(whole(values, sampling), centres, (1, 1, 1)))


@pytest.mark.parametrize("padding_mode", ["border", "zeros"])
@pytest.mark.parametrize("name", INTERPOLATED)
def test_linear_interpolation_is_that_of_the_whole_volume(name: str, padding_mode: str) -> None:
    values = torch.rand(2, 20, 17, 13)
    sampling = Sampling(*INTERPOLATED[name], padding_mode=padding_mode)
    volume = open_volume(values).sampled(sampling)
    centres = points_around(volume.shape)
    expected = dense_patches(whole(values, sampling), centres, (5, 4, 3))
    torch.testing.assert_close(volume.gather(centres, (5, 4, 3)), expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize("padding_mode", ["border", "zeros"])
@pytest.mark.parametrize("name", INTERPOLATED)
def test_nearest_takes_the_nearest_voxel(name: str, padding_mode: str) -> None:
    values = torch.rand(1, 20, 17, 13)
    matrix, shape = INTERPOLATED[name]
    matrix = matrix + np.array([[0, 0, 0, 1e-3]] * 3 + [[0] * 4])  # no ties, which may be decided either way
    sampling = Sampling(matrix, shape, "nearest", padding_mode)
    volume = open_volume(values).sampled(sampling)
    centres = points_around(volume.shape)
    assert torch.equal(volume.gather(centres, 5), dense_patches(whole(values, sampling), centres, (5, 5, 5)))


@pytest.mark.parametrize("padding_mode", ["border", "zeros"])
@pytest.mark.parametrize("mode", [1, 3])
@pytest.mark.parametrize("name", INTERPOLATED)
def test_splines_are_those_of_the_whole_volume(name: str, mode: int, padding_mode: str) -> None:
    values = torch.rand(2, 20, 17, 13)
    sampling = Sampling(*INTERPOLATED[name], mode=mode, padding_mode=padding_mode)
    volume = open_volume(values).sampled(sampling)
    centres = points_around(volume.shape)
    expected = dense_patches(whole(values, sampling), centres, (5, 4, 3))
    torch.testing.assert_close(volume.gather(centres, (5, 4, 3)), expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize("padding_mode", ["border", "zeros"])
@pytest.mark.parametrize("mode", ["bilinear", 1, 3])
@pytest.mark.parametrize("name", INTERPOLATED)
def test_double_precision(name: str, mode: str | int, padding_mode: str) -> None:
    values = torch.rand(1, 20, 17, 13, dtype=torch.float64)
    sampling = Sampling(*INTERPOLATED[name], mode=mode, padding_mode=padding_mode)
    volume = open_volume(values).sampled(sampling)
    centres = points_around(volume.shape)
    expected = dense_patches(exactly(values, sampling), centres, (5, 4, 3))
    torch.testing.assert_close(volume.gather(centres, (5, 4, 3), dtype=torch.float64), expected, atol=1e-10, rtol=0)


@pytest.mark.parametrize("mode", ["bilinear", 3])
def test_autocast_rounds_no_voxel(mode: str | int) -> None:
    volume, matrix = (
        ArraySource(np.random.default_rng(0).random((1, 12, 12, 12), np.float32) * 1000),
        np.diag([0.9, 1.1, 0.7, 1.0]),
    )
    starts = torch.randint(0, 8, (20, 3))
    read = [Sampling(matrix, (12, 12, 12), mode).patches(volume, starts.numpy(), (5, 5, 5))]
    with torch.autocast("cpu", torch.bfloat16):
        read.append(Sampling(matrix, (12, 12, 12), mode).patches(volume, starts.numpy(), (5, 5, 5)))
    assert torch.equal(*read)


def test_splines_far_outside_are_those_of_scipy() -> None:
    values = torch.rand(1, 6, 5, 4, dtype=torch.float64)
    for matrix in (np.diag([0.7, 0.9, 1.1, 1]), np.diag([0.7, 1, 1, 1]), rotation(0.4, 1.7)):
        matrix = matrix + np.array([[0, 0, 0, -22.3], [0, 0, 0, -22], [0, 0, 0, -25], [0] * 4])
        for mode in ("border", "zeros"):
            sampling = Sampling(matrix, (70, 60, 50), 3, mode)
            volume = open_volume(values).sampled(sampling)
            centres = points_around(volume.shape, 1000)
            expected = dense_patches(exactly(values, sampling), centres, (5, 4, 3))
            torch.testing.assert_close(volume.gather(centres, (5, 4, 3), dtype=torch.float64), expected, atol=1e-10, rtol=0)


@pytest.mark.parametrize("angle", [0.0, 0.5])
@pytest.mark.parametrize("padding_mode", ["border", "zeros"])
def test_two_dimensions(angle: float, padding_mode: str) -> None:
    values = torch.rand(3, 30, 25)
    matrix = np.array([[np.cos(angle) * 1.3, -np.sin(angle), 2], [np.sin(angle), np.cos(angle), -1], [0, 0, 1]])
    sampling = Sampling(matrix, (22, 27), padding_mode=padding_mode)
    volume = open_volume(values).sampled(sampling)
    centres = points_around(volume.shape)
    expected = dense_patches(whole(values, sampling), centres, (6, 5))
    torch.testing.assert_close(volume.gather(centres, (6, 5)), expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize("padding_mode", ["border", "zeros"])
@pytest.mark.parametrize("name", ["shift", "finer", "rotated"])
def test_scaling_comes_before_padding(name: str, padding_mode: str) -> None:
    stored = torch.randint(-1000, 1000, (1, 20, 17, 13), dtype=torch.int16)
    sampling = Sampling(*{**EXACT, **INTERPOLATED}[name], padding_mode=padding_mode)
    starts = points_around((1, *sampling.shape)).numpy()
    found = sampling.patches(ArraySource(stored.numpy(), scaling=(0.5, -1024.0)), starts, (3, 3, 3))
    expected = dense_patches(whole(stored * 0.5 - 1024.0, sampling), torch.from_numpy(starts) + 1, (3, 3, 3))
    torch.testing.assert_close(found, expected, atol=0.05, rtol=0)


def test_padding_by_zeros_hides_values_at_the_border() -> None:
    values = torch.full((1, 4, 4, 4), 7.0)
    values[:, 1:3, 1:3, 1:3] = 1
    shift = np.eye(4)
    shift[0, 3] = 10
    volume = open_volume(values).sampled(Sampling(shift, (4, 4, 4), padding_mode="zeros"))
    assert volume.gather(torch.tensor([[1, 1, 1]]), 3).eq(0).all()


def test_many_patches_are_read_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    values = torch.rand(1, 20, 17, 13)
    for name in ("identity", "coarser", "rotated"):
        volume = open_volume(values).sampled(Sampling(*{**EXACT, **INTERPOLATED}[name]))
        centres = points_around(volume.shape, 50)
        at_once = volume.gather(centres, 4)
        with monkeypatch.context() as patched:
            patched.setattr("monai_cpic.data.gather.sampling.VOXELS_PER_READ", 1)
            torch.testing.assert_close(volume.gather(centres, 4), at_once)


@pytest.mark.parametrize("name", ["identity", "coarser", "rotated"])
def test_no_patches(name: str) -> None:
    volume: LazyVolume = open_volume(torch.rand(2, 20, 17, 13)).sampled(Sampling(*{**EXACT, **INTERPOLATED}[name]))
    assert volume.gather(torch.zeros(0, 3, dtype=torch.int64), 4).shape == (0, 2, 4, 4, 4)


@pytest.mark.parametrize("padding_mode", ["border", "zeros"])
def test_a_source_is_not_asked_for_nothing(padding_mode: str) -> None:
    def function(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        assert len(x)
        return x + y + z

    shift = np.eye(4)
    shift[:3, 3] = 2
    volume = open_function(function, (1, 9, 9, 9)).sampled(Sampling(shift, (5, 5, 5), padding_mode=padding_mode))
    assert volume.gather(torch.tensor([[2, 2, 2]]), 3)[0, 0, 1, 1, 1] == 12
    assert volume.gather(torch.tensor([[0, 0, 0]]), 3)[0, 0, 0, 0, 0] == 6


def test_the_order_of_the_axes_in_memory_does_not_matter() -> None:
    values = torch.rand(2, 20, 17, 13)
    turned = values.permute(3, 1, 2, 0).contiguous().permute(3, 1, 2, 0)
    for name in ("flip", "coarser", "rotated"):
        sampling = Sampling(*{**EXACT, **INTERPOLATED}[name])
        centres = points_around((1, *sampling.shape), 50)
        expected = open_volume(values).sampled(sampling).gather(centres, 4)
        torch.testing.assert_close(open_volume(turned).sampled(sampling).gather(centres, 4), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.eye(4), (3, 3, 3), "bicubic"), "mode='bicubic'"),
        ((np.eye(4), (3, 3, 3), "nearest", "reflection"), "padding_mode='reflection'"),
        ((np.eye(4), (3, 0, 3)), "empty"),
        ((np.eye(3), (3, 3, 3)), "does not fit"),
    ],
)
def test_wrong_arguments(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Sampling(*arguments)
