"""Patches of tensors where they are, against those read through arrays."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from monai.transforms import ScaleIntensityRange
from numpy.typing import NDArray

from monai_cpic.data import LazyVolume, Sampling, open_volume, sources
from monai_cpic.data.channels import join_channels

VALUES = torch.randint(-1000, 1000, (2, 11, 10, 9), dtype=torch.int16, generator=torch.Generator().manual_seed(0))
GRIDS: dict[str, NDArray[np.float64]] = {
    "stored": np.eye(4),
    "turned and shifted": np.array([[0, -1, 0, 8.0], [1, 0, 0, 2], [0, 0, 1, -3], [0, 0, 0, 1]]),
    "spaced": np.array([[0.7, 0, 0, 1], [0, 0, 1.3, -1], [0, 2, 0, 0.5], [0, 0, 0, 1]]),
    "affine": np.array([[0.93, 0.31, 0, -1.2], [-0.3, 0.9, 0.1, 2], [0, 0.2, 1.1, 0.5], [0, 0, 0, 1]]),
}
CENTRES = torch.stack(torch.meshgrid(*(torch.arange(-4, 15, 3),) * 3, indexing="ij"), -1).reshape(-1, 3)


def stored(slope: float = 0.5) -> LazyVolume:
    source = sources.ArraySource(VALUES.numpy(), scaling=(slope, -24.0))
    return LazyVolume(source, torch.eye(4, dtype=torch.float64), "scan")


@pytest.mark.parametrize("padding_mode", ["border", "zeros"])
@pytest.mark.parametrize("mode", ["nearest", "bilinear", 0, 1, 3])
@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_patches_are_those_of_arrays(grid: str, mode: str | int, padding_mode: str, dtype: torch.dtype) -> None:
    volume = stored().sampled(Sampling(GRIDS[grid], (10, 9, 8), mode, padding_mode))
    there = volume.to("cpu")
    assert isinstance(there.source, sources.TensorSource) and there.source.values.dtype == torch.int16
    found = there.gather(CENTRES, (5, 4, 3), dtype=dtype)
    assert found.dtype == dtype
    torch.testing.assert_close(
        found, volume.gather(CENTRES, (5, 4, 3), dtype=dtype), rtol=0, atol=1e-2 if dtype == torch.float32 else 1e-8
    )


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-1.5, 1.5), min_size=12, max_size=12), st.sampled_from(["bilinear", 1]), st.integers(1, 6))
def test_any_map(numbers: list[float], mode: str | int, edge: int) -> None:
    matrix = np.vstack([np.array(numbers).reshape(3, 4) + np.eye(3, 4), [0, 0, 0, 1]])
    assume(np.linalg.cond(matrix[:3, :3]) < 100)  # singular maps are refused
    volume = stored().sampled(Sampling(matrix, (7, 6, 5), mode))
    torch.testing.assert_close(
        volume.to("cpu").gather(CENTRES, edge, dtype=torch.float64),
        volume.gather(CENTRES, edge, dtype=torch.float64),
        rtol=0,
        atol=1e-6,
    )


def test_levels_masks_and_intensities(tmp_path: Path) -> None:
    np.save(tmp_path / "mask.npy", (VALUES[:1] > 0).numpy())
    mask = open_volume(tmp_path / "mask.npy")
    volume = stored().masked(replace(mask, affine=stored().affine)).scaled(ScaleIntensityRange(-500, 400, 0, 1, clip=True))
    there = volume.to("cpu")
    expected = volume.gather(CENTRES, 5, steps=(1, 2, 4))
    torch.testing.assert_close(there.gather(CENTRES, 5, steps=(1, 2, 4)), expected)
    assert there.key == "scan"
    again = pickle.loads(pickle.dumps(there)).to("cpu")
    torch.testing.assert_close(again.gather(CENTRES, 5, steps=(1, 2, 4)), expected)
    level = there.source.level((2, 2, 2))
    assert isinstance(level, sources.TensorSource) and level is there.source.level((2, 2, 2))


def test_every_kind_of_source(tmp_path: Path) -> None:
    values = VALUES.numpy()
    np.save(tmp_path / "swapped.npy", values.astype(">i2"))
    np.save(tmp_path / "floats.npy", np.asfortranarray(values.astype(np.float32)))
    every = [
        open_volume(tmp_path / "swapped.npy"),
        open_volume(tmp_path / "floats.npy"),
    ]
    every += [join_channels(every), open_volume(values.astype(np.uint16)), open_volume(values > 0)]
    for volume in every:
        assert torch.equal(volume.to("cpu").gather(CENTRES, 3), volume.gather(CENTRES, 3))


def test_a_bad_voxel_is_found_when_the_scan_is_moved(tmp_path: Path) -> None:
    np.save(tmp_path / "scan.npy", np.full((1, 4, 4, 4), np.nan, np.float32))
    with pytest.raises(ValueError, match=r"scan\.npy: voxel .* is nan"):
        open_volume(tmp_path / "scan.npy").to("cpu")
    assert open_volume(tmp_path / "scan.npy", fill=-1).to("cpu").gather(torch.zeros(1, 3, dtype=torch.int64), 1).item() == -1
