"""Patches far and near against averages of the whole volume, as it is stored and as MONAI transforms it."""

from __future__ import annotations

import itertools
import math
import multiprocessing
import os
import pickle
import shutil
import signal
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import monai.transforms as mt
import nibabel
import numpy as np
import pytest
import SimpleITK
import torch
from dense import KEY, pipelines
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from scipy import ndimage
from torch import Tensor

from monai_cpic.data import ArraySource, LazyVolume, Sampling, Source, open_function, open_volume, sources
from monai_cpic.data.cache import limit as cache_limit
from monai_cpic.data.pyramid import averaging, levels
from monai_cpic.data.pyramid.geometry import block_centres, factors_below, factors_of_step, level_shape
from monai_cpic.data.sources import FiniteSource
from monai_cpic.testing.dense import dense_factors, dense_means, dense_steps, points_around

STEPS = (1, 2, 4)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache folder."""
    monkeypatch.setenv("MONAI_CPIC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A scan of two channels."""
    np.save(tmp_path / "scan.npy", np.random.default_rng(0).integers(-1000, 1000, (2, 19, 24, 14), np.int16))
    return tmp_path / "scan.npy"


def spacing(volume: LazyVolume) -> list[float]:
    return [float(length) for length in volume.affine[:-1, :-1].norm(dim=0)]


def check(volume: LazyVolume, dense: Tensor, steps: tuple[int, ...] = STEPS, tolerance: float = 1e-5) -> None:
    """Patches of a volume against those of a dense one, up to a part of its range."""
    centres = points_around(volume.shape)
    size = (3, 4, 5)[: dense.ndim - 1]
    expected = dense_steps(dense, centres, size, steps, spacing(volume)).float()
    patches = volume.gather(centres, size, steps=steps)
    assert patches.shape == (len(centres), len(steps) * volume.shape[0], *size)
    torch.testing.assert_close(patches, expected, rtol=0, atol=tolerance * float(dense.max() - dense.min()))


def smooth(*shape: int) -> Tensor:
    """Noise without details below about twelve voxels."""
    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=shape), (0, *(12,) * (len(shape) - 1)))
    return torch.from_numpy((noise / np.ptp(noise)).astype(np.float32))


# ---- arithmetic ----------------------------------------------------------------------------------------------------------


@given(st.integers(0, 6), st.lists(st.floats(0.05, 20), min_size=2, max_size=3))
def test_factors_are_as_near_as_possible(exponent: int, lengths: list[float]) -> None:
    step = 2**exponent
    factors = factors_of_step(step, lengths)
    assert factors[int(np.argmin(lengths))] == step
    for factor, length, best in zip(factors, lengths, dense_factors(step, lengths), strict=True):
        assert 1 <= factor <= step
        assert factor.bit_count() == 1
        wanted = step * min(lengths)
        assert abs(factor * length - wanted) <= abs(best * length - wanted) + 1e-5 * wanted


def test_factors_of_known_scans() -> None:
    assert [factors_of_step(step, (0.7, 0.7, 5)) for step in (1, 4, 16)] == [(1, 1, 1), (4, 4, 1), (16, 16, 2)]
    assert factors_of_step(4, (1, 1 + 1e-9, 1 - 1e-9)) == (4, 4, 4)
    assert factors_of_step(4, (1, 4 / 3 * (1 + 1e-12), 4 / 3 * (1 - 1e-12))) == (4, 2, 2)  # equally near: the smaller
    assert factors_of_step(4, (0, 0, 0)) == (1, 1, 1)  # an affine without lengths


@given(st.lists(st.tuples(st.integers(1, 70), st.sampled_from([1, 2, 4, 8])), min_size=2, max_size=3), st.integers(-30, 30))
def test_every_voxel_lies_in_the_block_around_its_centre(axes: list[tuple[int, int]], shift: int) -> None:
    shape, factors = [edge for edge, _ in axes], [factor for _, factor in axes]
    voxels = np.array(shape) - 1
    blocks = voxels // factors
    assert tuple(blocks + 1) == level_shape(shape, factors)
    centres = block_centres(factors) @ [*blocks, 1]
    assert (np.abs(centres[:-1] - voxels) <= (np.array(factors) - 1) / 2).all()
    assert factors_below(np.diag([*factors, 1.0]) @ block_centres((1,) * len(axes))) == tuple(factors)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 20), st.sampled_from([1, 2, 4, 8])), min_size=2, max_size=3),
    st.integers(1, 2),
    st.integers(1, 3000),
    st.data(),
)
def test_parts_of_any_size_give_the_same_means(
    axes: list[tuple[int, int]], channels: int, voxels: int, data: st.DataObject
) -> None:
    shape, factors = [edge for edge, _ in axes], [factor for _, factor in axes]
    order = data.draw(st.permutations(range(len(axes))))
    chunks = data.draw(st.none() | st.lists(st.integers(1, 12), min_size=len(axes), max_size=len(axes)))
    values = np.random.default_rng(0).integers(-100, 100, (channels, *shape)).astype(np.int16)
    edges = averaging.part_edges(shape, factors, order, voxels)
    assert all(edge % factor == 0 for edge, factor in zip(edges, factors, strict=True))
    assert math.prod(edges) <= max(voxels, math.prod(factors))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(averaging, "PART", voxels)
        slabs = list(averaging.slabs(ArraySource(values, scaling=(0.5, 3)), factors, order, chunks))
    found = np.concatenate(slabs, order[0] + 1)
    np.testing.assert_allclose(found, dense_means(torch.from_numpy(values * 0.5 + 3), factors), atol=1e-4)


# ---- patches -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(2, 16, 24, 8), (1, 13, 7, 30), (1, 19, 22), (3, 2, 1, 1)])
@pytest.mark.parametrize("dtype", [torch.int16, torch.uint8, torch.float32, torch.float64, torch.bool])
def test_arrays(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    values = torch.randint(0, 2 if dtype == torch.bool else 200, shape).to(dtype)
    check(open_volume(values), values.double(), (1, 2, 4, 16))


def test_one_step_is_the_default() -> None:
    volume, centres = open_volume(torch.rand(2, 9, 8, 7)), torch.randint(-3, 9, (20, 3))
    assert torch.equal(volume.gather(centres, 5, steps=[1]), volume.gather(centres, 5))
    assert volume.coarser(1) is volume
    assert volume.gather(centres[:0], 5, steps=(2, 8)).shape == (0, 4, 5, 5, 5)
    assert volume.gather(centres, 5, steps=(1, 2), dtype=torch.float64).dtype == torch.float64


def test_anisotropic_scans_are_thinned_along_short_axes_first() -> None:
    values = torch.rand(1, 40, 40, 12)
    volume = open_volume(MetaTensor(values, affine=torch.diag(torch.tensor([0.7, 0.7, 5, 1]))))
    assert [volume.coarser(step).shape for step in (4, 16)] == [(1, 10, 10, 12), (1, 3, 3, 6)]
    check(volume, values, (1, 4, 16))


def test_a_scan_smaller_than_a_patch_at_its_coarsest_step_repeats_its_border() -> None:
    values = torch.rand(1, 20, 6, 5)
    patches = open_volume(values).gather(torch.tensor([[10, 3, 2]]), 7, steps=(16,))[0, 0]
    means = dense_means(values, (16, 16, 16))[0, :, 0, 0].float()
    torch.testing.assert_close(patches, means[[0, 0, 0, 0, 1, 1, 1]][:, None, None].expand(7, 7, 7))


def test_voxels_of_coarser_volumes_are_where_their_blocks_are() -> None:
    x, y = torch.meshgrid(torch.arange(16.0), torch.arange(8.0), indexing="ij")
    volume = open_volume(
        MetaTensor(torch.stack([3 * x + 1, 2 * y - 5]), affine=torch.tensor([[3.0, 0, 1], [0, 2, -5], [0, 0, 1]]))
    )
    far = volume.coarser(4)  # of its channels, which are the coordinates, the means are the coordinates of the voxels
    centres = torch.cartesian_prod(*map(torch.arange, far.shape[1:]))
    places = torch.cat([centres, torch.ones(len(centres), 1)], 1).double() @ far.affine.T
    assert far.shape == (2, 8, 2)
    torch.testing.assert_close(far.gather(centres, 1)[:, :, 0, 0].double(), places[:, :2])


def test_patches_read_ahead_are_those_of_their_steps(path: Path) -> None:
    volume, centres = open_volume(path), torch.cartesian_prod(*(torch.arange(0, 12, 4),) * 3)
    ahead = volume.prefetched(centres[:15], 3, steps=(1, 4))
    assert ahead.read is not None
    assert ahead.read.values.shape == (15, 4, 3, 3, 3)
    for steps in ((1, 4), (1,), (1, 2)):
        assert torch.equal(ahead.gather(centres, 3, steps=steps), volume.gather(centres, 3, steps=steps))
    ahead.read.values.fill_(7)
    assert (ahead.gather(centres[:15], 3, steps=(1, 4)) == 7).all()
    assert torch.equal(ahead.gather(centres, 3), volume.gather(centres, 3))


@pytest.mark.parametrize("steps", [(), (0, 1), (-4,), (1, 1), (4, 1), (1, 3), (1, 2.5), (1, 16, 4)], ids=lambda steps: str(steps))
def test_refused_steps(steps: Any) -> None:
    with pytest.raises(ValueError, match=r"steps=\(.*\): steps are powers of two, each larger than the one before"):
        open_volume(torch.zeros(1, 8, 8, 8)).gather(torch.zeros(1, 3, dtype=torch.int64), 3, steps=steps)


# ---- intensities and masks -----------------------------------------------------------------------------------------------


def test_functions_are_applied_to_means() -> None:
    values = torch.randint(-1000, 1000, (1, 16, 16, 16)).float()
    window = mt.ScaleIntensityRange(-200, 200, 0, 1, clip=True)
    volume = open_volume(values).scaled(window)
    centres = points_around(volume.shape)
    patches = volume.gather(centres, 3, steps=(1, 4))
    expected = torch.as_tensor(window(dense_steps(values, centres, (3, 3, 3), (1, 4), (1, 1, 1)).float()))
    torch.testing.assert_close(patches, expected.as_subclass(Tensor), atol=1e-5, rtol=0)


def test_masks_keep_blocks_that_hold_any_voxel_of_them() -> None:
    values, mask = torch.rand(2, 16, 13, 8) + 1, torch.zeros(1, 16, 13, 8, dtype=torch.uint8)
    mask[:, 5, 4, 3] = 1
    volume = open_volume(values).masked(open_volume(mask)).scaled(torch.neg)
    centres = points_around(volume.shape)
    kept = dense_steps(mask, centres, (3, 3, 3), (1, 2, 8), (1, 1, 1)) > 0
    expected = dense_steps(values, centres, (3, 3, 3), (1, 2, 8), (1, 1, 1)) * kept.repeat_interleave(2, 1)
    torch.testing.assert_close(volume.gather(centres, 3, steps=(1, 2, 8)), -expected.float())


def test_masks_turn_with_the_volume() -> None:
    values, mask = torch.rand(1, 16, 16, 8) + 1, (torch.rand(1, 16, 16, 8) < 0.1).byte()
    flip = Sampling(np.array([[-1, 0, 0, 15.0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), (16, 16, 8))
    volume = open_volume(values).masked(open_volume(mask)).sampled(flip)
    whole = dense_means(values.flip(1), (4, 4, 4)) * (dense_means(mask.flip(1), (4, 4, 4)) > 0)
    torch.testing.assert_close(volume.coarser(4).gather(torch.tensor([[2, 2, 1]]), (4, 4, 2))[0], whole.float())


# ---- other grids ---------------------------------------------------------------------------------------------------------

EXACT: dict[str, Callable[[], list[Any]]] = {
    "flip": lambda: [mt.Flipd(KEY, (0, 2))],
    "permute": lambda: [mt.Orientationd(KEY, "PSR", labels=None)],
    "turn": lambda: [mt.Rotate90d(KEY, 1, (0, 1))],
    "crop by whole blocks": lambda: [mt.SpatialCropd(KEY, roi_start=(8, 4, 0), roi_end=(24, 28, 16))],
    "crop and flip": lambda: [mt.SpatialCropd(KEY, roi_start=(8, 4, 0), roi_end=(24, 28, 16)), mt.Flipd(KEY, 1)],
}
CLOSE: dict[str, Callable[[], list[Any]]] = {
    "crop": lambda: [mt.SpatialCropd(KEY, roi_start=(3, 5, 1), roi_end=(61, 60, 39))],
    "finer": lambda: [mt.Spacingd(KEY, (0.6, 0.6, 0.6))],
    "coarser": lambda: [mt.Spacingd(KEY, (2.2, 1.7, 1.0))],
    "zoom": lambda: [mt.Zoomd(KEY, 1.1)],
    "rotate": lambda: [mt.RandAffined(KEY, prob=1, rotate_range=(0.2, 0.1, 0.3), scale_range=0.1)],
    "turn by an eighth": lambda: [mt.Rotated(KEY, (0, 0, np.pi / 4))],
}


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("mode", ["bilinear", "nearest", 1, 3])
def test_grids_that_are_exact(name: str, mode: str | int) -> None:
    image = MetaTensor(torch.rand(2, 24, 32, 16), affine=torch.diag(torch.tensor([-1.0, 1, 1, 1])))
    volume, expected = pipelines(image, EXACT[name], mode, "border")
    check(volume, expected.as_tensor(), (1, 2, 4))


def test_grids_padded_by_zeros_are_refused() -> None:
    volume, _ = pipelines(MetaTensor(torch.rand(1, 16, 16, 16)), EXACT["permute"], "bilinear", "zeros")
    centres = torch.zeros(1, 3, dtype=torch.int64)
    assert volume.gather(centres, 3).shape == (1, 1, 3, 3, 3)
    with pytest.raises(ValueError, match='padded by zeros.*padding_mode="border"'):
        volume.gather(centres, 3, steps=(1, 4))


@pytest.mark.parametrize("size", [45, 157])
def test_flips_of_sizes_that_blocks_do_not_divide_differ_at_the_border_only(size: int) -> None:
    """A ramp, which has no curvature: exact inside, wrong by a part of a block where the last one is cut off."""
    image = MetaTensor(torch.linspace(0, 1, size).reshape(1, size, 1, 1).expand(1, size, 16, 16).clone())
    volume, expected = pipelines(image, lambda: [mt.Flipd(KEY, 0)], "bilinear", "border")
    centres = torch.stack([torch.arange(size), torch.full((size,), 8), torch.full((size,), 8)], 1)
    found = volume.gather(centres, 1, steps=(4,))
    difference = (found - dense_steps(expected.as_tensor(), centres, (1, 1, 1), (4,), spacing(volume))).abs().flatten()
    assert difference[8:-8].max() < 1e-4 and difference.max() < 4 / size


def test_blocks_of_a_constant_have_its_value() -> None:
    volume = open_volume(torch.full((1, 64, 64, 64), 0.1))
    assert abs(float(volume.coarser(64).gather(torch.zeros(1, 3, dtype=torch.int64), 1)) - 0.1) < 1e-6


def test_a_level_of_the_centres_of_blocks_is_one_of_centres() -> None:
    volume = open_function(lambda x, y, z: 1.0 * x, (1, 4096, 4096, 4096))
    centre = torch.tensor([[100, 5, 5]])
    assert volume.coarser(4).coarser(4).gather(centre // 16, 1).item() == volume.coarser(16).gather(centre // 16, 1).item()


def test_anisotropic_scans_on_other_axes() -> None:
    image = MetaTensor(torch.rand(1, 32, 16, 12), affine=torch.diag(torch.tensor([0.7, -0.7, 5, 1])))
    volume, expected = pipelines(image, EXACT["permute"], "bilinear", "border")
    assert volume.coarser(16).shape == (1, 1, 6, 2)
    check(volume, expected.as_tensor(), (1, 4, 16))


@pytest.mark.parametrize("name", CLOSE)
@pytest.mark.parametrize("steps", [(1, 2), (1, 4)])
def test_grids_that_are_interpolated(name: str, steps: tuple[int, ...]) -> None:
    """Inside the volume; how far from averaging the transformed volume depends on how smooth it is within a block."""
    volume, expected = pipelines(MetaTensor(smooth(1, 64, 64, 40)), CLOSE[name], "bilinear", "border")
    centres = torch.stack([torch.randint(n // 3, 2 * n // 3, (200,)) for n in volume.shape[1:]], 1)
    found = volume.gather(centres, 3, steps=steps)
    whole = dense_steps(expected.as_tensor(), centres, (3, 3, 3), steps, spacing(volume))
    difference = (found - whole).abs().amax((0, 2, 3, 4))
    assert difference[0] < 1e-5
    assert difference[1] < {2: 0.002, 4: 0.008}[steps[1]]  # of the range: with the square of the step


def test_a_linear_volume_is_exact_on_any_grid() -> None:
    x, y, z = np.meshgrid(*map(np.arange, (64, 64, 40)), indexing="ij")
    image = MetaTensor(torch.from_numpy((0.3 * x - 0.5 * y + z)[None].astype(np.float32)))
    for name, transforms in CLOSE.items():
        volume, expected = pipelines(image, transforms, "bilinear", "border")
        centres = torch.stack([torch.randint(2 * n // 5, 3 * n // 5, (50,)) for n in volume.shape[1:]], 1)
        found = volume.gather(centres, 3, steps=(1, 4))
        whole = dense_steps(expected.as_tensor(), centres, (3, 3, 3), (1, 4), spacing(volume)).float()
        assert (found - whole).abs().max() < 1e-4 * np.ptp(image), name


@pytest.mark.parametrize("size", [3, 5])
def test_patches_of_a_flipped_volume_are_flipped(size: int) -> None:
    values = torch.rand(1, 16, 16, 8)
    centres = points_around(values.shape)
    mirrored = torch.stack([15 - centres[:, 0], centres[:, 1], 7 - centres[:, 2]], 1)
    found = open_volume(values.flip(1, 3)).gather(mirrored, size, steps=(1, 2, 4)).flip(2, 4)
    torch.testing.assert_close(found, open_volume(values).gather(centres, size, steps=(1, 2, 4)))


# ---- where levels are ----------------------------------------------------------------------------------------------------


@pytest.fixture
def averaged(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The factors of every level that is averaged from now on."""
    made: list[tuple[int, ...]] = []

    def counted(source: Source, factors: tuple[int, ...], *arguments: Any) -> Any:
        made.append(tuple(factors))
        return averaging.slabs(source, factors, *arguments)

    monkeypatch.setattr(levels, "slabs", counted)
    return made


def far(volume: LazyVolume) -> Tensor:
    return volume.gather(torch.tensor([[8, 8, 8]]), 3, steps=(2, 4))


def test_arrays_keep_their_levels(averaged: list[tuple[int, ...]]) -> None:
    volume = open_volume(torch.rand(1, 16, 16, 16))
    expected = far(volume)
    for again in (volume, volume.scaled(torch.abs), pickle.loads(pickle.dumps(volume))):
        assert torch.equal(far(again), expected)
    assert averaged == [(2, 2, 2), (4, 4, 4)]


def test_tensors_on_an_accelerator_keep_theirs_there() -> None:
    values = torch.randint(-1000, 1000, (2, 70, 9, 7), dtype=torch.int16)
    source = sources.TensorSource(values, scaling=(2, 1))  # any device: here the one that is at hand
    volume = LazyVolume(source, torch.eye(4, dtype=torch.float64))
    check(volume, values.double() * 2 + 1)
    level = source.level((4, 4, 4))
    assert isinstance(level, sources.TensorSource)
    assert level is source.level((4, 4, 4))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_tensors_on_a_gpu() -> None:
    values = torch.randint(-1000, 1000, (2, 70, 40, 30), dtype=torch.int16)
    volume = open_volume(values.cuda())
    check(volume, values.double())
    level = volume.source.level((4, 4, 4))
    assert isinstance(level, sources.TensorSource)
    assert level.values.is_cuda


def test_files_are_averaged_once(path: Path, cache: Path, averaged: list[tuple[int, ...]]) -> None:
    expected = far(open_volume(path))
    assert len(list(cache.iterdir())) == 2
    assert torch.equal(far(open_volume(path)), expected)
    assert torch.equal(far(pickle.loads(pickle.dumps(open_volume(path)))), expected)
    assert averaged == [(2, 2, 2), (4, 4, 4)]
    assert len(pickle.dumps(open_volume(path))) < 4000


def test_averaging_takes_memory_for_a_part_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "scan.npy", np.zeros((1, 256, 256, 256), np.int16))
    monkeypatch.setattr(averaging, "PART", 2**18)
    tracemalloc.start()
    far(open_volume(tmp_path / "scan.npy"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * 2**20  # of 32


def test_a_file_that_changes_is_averaged_again(path: Path) -> None:
    before = far(open_volume(path))
    np.save(path, np.load(path) + 7)
    os.utime(path, (1, 1))
    torch.testing.assert_close(far(open_volume(path)), before + 7)


def test_files_of_a_named_cache(tmp_path: Path, cache: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(np.zeros((9, 9, 9), np.int16), np.eye(4)), tmp_path / "scan.nii")
    nibabel.save(nibabel.Nifti1Image(np.zeros((9, 9, 9), np.int16), np.eye(4)), tmp_path / "scan.nii.gz")
    for name, folders in (("scan.nii", 2), ("scan.nii.gz", 3)):
        far(open_volume(tmp_path / name, cache_dir=tmp_path / name[5:]))
        assert len(list((tmp_path / name[5:]).iterdir())) == folders
    assert not cache.exists()


def test_averaging_that_fails_leaves_nothing(path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(*arguments: Any) -> Any:
        yield from itertools.islice(averaging.slabs(*arguments), 1)
        raise RuntimeError("in the middle")

    monkeypatch.setattr(averaging, "PART", 1000)
    with monkeypatch.context() as broken:
        broken.setattr(levels, "slabs", half)
        with pytest.raises(RuntimeError, match="in the middle"):
            far(open_volume(path))
    assert not list(cache.iterdir())
    check(open_volume(path), torch.from_numpy(np.load(path)))


def _killed(path: Path) -> None:
    slabs = averaging.slabs

    def stop(*arguments: Any) -> Any:
        yield from itertools.islice(slabs(*arguments), 1)
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(averaging, "PART", 1000)
        patch.setattr(levels, "slabs", stop)
        far(open_volume(path))


def in_a_fork(function: Callable[..., None], *arguments: Any) -> int | None:
    process = multiprocessing.get_context("fork").Process(target=function, args=arguments)
    process.start()
    process.join(30)
    return process.exitcode


def test_averaging_that_is_killed_leaves_no_level(path: Path, cache: Path) -> None:
    assert in_a_fork(_killed, path) == -signal.SIGKILL
    assert all(folder.name.startswith(".unfinished") for folder in cache.iterdir())
    check(open_volume(path), torch.from_numpy(np.load(path)))


def _only_reads(path: Path, expected: Tensor) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(levels, "slabs", None)
        assert torch.equal(far(open_volume(path)), expected)


def _reads_the_same(volume: LazyVolume, expected: Tensor) -> None:
    assert torch.equal(far(volume), expected)


def test_processes_share_levels(path: Path) -> None:
    volume = open_volume(path)
    expected = far(volume)
    assert in_a_fork(_only_reads, path, expected) == 0
    assert in_a_fork(_reads_the_same, volume, expected) == 0


def test_a_cache_too_small_for_the_pyramid(path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    level = 4 * 2 * 10 * 12 * 7  # bytes of step 2
    runs: dict[tuple[Path, int], Any] = {}
    monkeypatch.setattr(cache_limit, "_runs", runs)
    monkeypatch.setenv("MONAI_CPIC_CACHE_LIMIT", str((level + 100) / 2**30))
    volume = open_volume(path)
    volume.gather(torch.tensor([[8, 8, 8]]), 3, steps=(2,))
    with pytest.raises(OSError, match=r"the cache is full: .* exceed MONAI_CPIC_CACHE_LIMIT"):
        far(volume)
    assert len([folder for folder in cache.iterdir() if folder.is_dir()]) == 1
    for run in runs.values():
        run.close()


def test_a_full_disk(path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: Any) -> Any:
        raise OSError(28, "No space left on device")
        yield

    monkeypatch.setattr(levels, "slabs", full)
    with pytest.raises(OSError, match=r"scan.npy: the disk of the cache folder is full"):
        far(open_volume(path))


def test_voxels_that_are_not_finite(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((1, 16, 16, 16), np.float32)
    values[0, 3, 4, 5] = np.nan
    np.save(tmp_path / "scan.npy", values)
    with pytest.raises(ValueError, match=r"scan.npy: voxel \(3, 4, 5\) of channel 0 is nan"):
        far(open_volume(tmp_path / "scan.npy"))
    for fill in (-1.0, 2.0):
        volume = open_volume(tmp_path / "scan.npy", fill=fill)
        check(volume, torch.from_numpy(values).nan_to_num(nan=fill))
        assert isinstance(volume.source, FiniteSource)


def test_channels_are_averaged_each(path: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "other.npy", np.random.default_rng(1).random((1, 19, 24, 14)).astype(np.float32))
    volume = open_volume([path, tmp_path / "other.npy"])
    check(volume, torch.from_numpy(np.concatenate([np.load(path), np.load(tmp_path / "other.npy")])))


# ---- volumes that are too large to be averaged ----------------------------------------------------------------------------


def ramp(x: Any, y: Any, z: Any) -> Any:
    """Of arrays or of numbers."""
    return x + 10.0 * y + 100.0 * z


def test_functions_are_asked_at_the_centres() -> None:
    volume = open_function(ramp, (1, 8192, 8192, 8190))
    patch = volume.gather(torch.tensor([[160, 33, 8189]]), (3, 1, 2), steps=(1, 16))[0]
    assert patch[0].flatten().tolist() == [ramp(x, 33, z) for x in (159, 160, 161) for z in (8188, 8189)]
    assert patch[1].flatten().tolist() == [ramp(x, 40, z) for x in (152, 168, 184) for z in (8168, 8184)]


def test_a_sparse_file_is_not_read_whole(tmp_path: Path, cache: Path) -> None:
    edge = 8192
    header = np.lib.format.header_data_from_array_1_0(np.empty(0, np.int16)) | {"shape": (1, edge, edge, edge)}
    with (tmp_path / "sparse.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        first = file.tell()
        file.truncate(first + 2 * edge**3)
        file.seek(first + 2 * ((16 * 100 + 8) * edge**2 + (16 * 200 + 8) * edge + 16 * 300 + 8))
        file.write(np.int16(77).tobytes())
    patch = open_volume(tmp_path / "sparse.npy").gather(torch.tensor([[1600, 3200, 4800]]), 3, steps=(1, 16))[0]
    assert patch[1, 1, 1, 1] == 77
    assert patch.count_nonzero() == 1
    assert not cache.exists()


def test_the_limit_is_a_number_of_voxels(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(levels, "AVERAGED", 2 * 19 * 24 * 14 - 1)
    values = np.load(path)
    far = torch.from_numpy(values[:, 8::16, 8::16, 8::16].astype(np.float32))
    for volume in (open_volume(path), open_volume(values)):
        assert torch.equal(volume.gather(torch.tensor([[8, 8, 8]]), (1, 1, 1), steps=(16,))[0], far[:, :1, :1, :1])


# ---- real scans ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["chest", "brain"])
def test_real_scans(real_data: Path, tmp_path: Path, kind: str) -> None:
    scan: Any = sorted((real_data / "brain_openms_4mod" / "patient07").glob("*_brain_N4_*.nii.gz"))
    if kind == "chest":
        with tarfile.open(real_data / "chest_ct_lidc0314" / "LIDC-IDRI-0314_dicom.tar.xz") as archive:
            archive.extractall(tmp_path, filter="data")
        scan = tmp_path / "lower"
        scan.mkdir()
        for name in SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(next(tmp_path.rglob("*.dcm")).parent))[:50]:
            shutil.move(name, scan)
    volume = open_volume(scan)
    whole = volume.gather(torch.tensor([[n // 2 for n in volume.shape[1:]]]), volume.shape[1:])[0]
    check(volume, whole, (1, 4, 16))
