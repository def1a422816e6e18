"""Lazy intensities against MONAI's transforms of the dense volume."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import monai.transforms as mt
import nibabel
import numpy as np
import pytest
import torch
from dense import KEY
from monai.data import DataLoader, Dataset
from torch import Tensor

from monai_cpic.data import LazyVolume, Sampling, open_volume
from monai_cpic.data import statistics as statistics_module
from monai_cpic.data.statistics import voxel_sample
from monai_cpic.testing.dense import dense_patches, points_around
from monai_cpic.transforms import (
    FreezeLazyVolumed,
    LoadLazyVolumed,
    MaskIntensityLazyd,
    NormalizeIntensityLazyd,
    ScaleIntensityRangeLazyd,
    ScaleIntensityRangePercentilesLazyd,
)

MASK = "mask"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONAI_CPIC_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def values() -> Tensor:
    """Two channels of different ranges, a third of the voxels 0."""
    image = torch.rand(2, 14, 13, 12) * torch.tensor([100.0, 3000]).reshape(2, 1, 1, 1) + 50
    return image * (torch.rand(2, 14, 13, 12) > 0.3)


@pytest.fixture
def mask() -> Tensor:
    ball = torch.stack(torch.meshgrid(*(torch.linspace(-1, 1, n) for n in (14, 13, 12)), indexing="ij")).norm(dim=0) < 0.9
    return ball[None].float()


def equal(volume: LazyVolume, expected: Any, tolerance: float = 1e-5) -> None:
    centres = points_around(volume.shape)
    found, expected = volume.gather(centres, (4, 3, 5)), dense_patches(torch.as_tensor(expected), centres, (4, 3, 5))
    assert type(found) is Tensor
    torch.testing.assert_close(found, expected, atol=tolerance * max(1.0, float(expected.abs().max())), rtol=0)


def normalized(*given: Any, **options: Any) -> mt.NormalizeIntensityd:
    """MONAI's, which takes numbers and lists although its annotations allow tensors only."""
    return mt.NormalizeIntensityd(KEY, *given, **options)


PAIRS: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "normalize": (lambda: NormalizeIntensityLazyd(KEY), lambda: mt.NormalizeIntensityd(KEY)),
    "nonzero": (lambda: NormalizeIntensityLazyd(KEY, nonzero=True), lambda: mt.NormalizeIntensityd(KEY, nonzero=True)),
    "channels": (
        lambda: NormalizeIntensityLazyd(KEY, nonzero=True, channel_wise=True),
        lambda: mt.NormalizeIntensityd(KEY, nonzero=True, channel_wise=True),
    ),
    "given": (lambda: NormalizeIntensityLazyd(KEY, 40.0, 7.0), lambda: normalized(40.0, 7.0)),
    "given mean": (
        lambda: NormalizeIntensityLazyd(KEY, subtrahend=[4.0, 5.0], channel_wise=True),
        lambda: normalized([4.0, 5.0], channel_wise=True),
    ),
    "given of one channel": (
        lambda: NormalizeIntensityLazyd(KEY, [None, 5.0], [None, 4.0], nonzero=True, channel_wise=True),
        lambda: normalized([None, 5.0], [None, 4.0], nonzero=True, channel_wise=True),
    ),
    "percentiles": (
        lambda: ScaleIntensityRangePercentilesLazyd(KEY, 5, 90, -1, 1),
        lambda: mt.ScaleIntensityRangePercentilesd(KEY, 5, 90, -1, 1),
    ),
    "clipped percentiles": (
        lambda: ScaleIntensityRangePercentilesLazyd(KEY, 5, 90, clip=True, channel_wise=True),
        lambda: mt.ScaleIntensityRangePercentilesd(KEY, 5, 90, 0, 1, clip=True, channel_wise=True),
    ),
    "relative percentiles": (
        lambda: ScaleIntensityRangePercentilesLazyd(KEY, 5, 90, 0, 10, relative=True),
        lambda: mt.ScaleIntensityRangePercentilesd(KEY, 5, 90, 0, 10, relative=True),
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_all_voxels_of_a_small_volume(name: str, values: Tensor) -> None:
    lazy, dense = PAIRS[name]
    equal(lazy()({KEY: open_volume(values)})[KEY], dense()({KEY: values.clone()})[KEY])


@pytest.mark.parametrize("name", PAIRS)
def test_within_a_mask(name: str, values: Tensor, mask: Tensor) -> None:
    lazy, dense = PAIRS[name]
    items = MaskIntensityLazyd(KEY, MASK)({KEY: open_volume(values), MASK: open_volume(mask)})
    expected = mt.MaskIntensityd(KEY, mask_key=MASK)({KEY: values.clone(), MASK: mask})
    equal(items[KEY], expected[KEY])
    equal(lazy()(items)[KEY], dense()(expected)[KEY])


def test_steps_follow_one_another(values: Tensor, mask: Tensor) -> None:
    lazy = [ScaleIntensityRangeLazyd(KEY, 0, 2000), MaskIntensityLazyd(KEY, MASK), NormalizeIntensityLazyd(KEY, nonzero=True)]
    dense = [
        mt.ScaleIntensityRanged(KEY, 0, 2000, 0, 1, clip=True),
        mt.MaskIntensityd(KEY, mask_key=MASK),
        mt.NormalizeIntensityd(KEY, nonzero=True),
    ]
    found = mt.Compose(lazy)({KEY: open_volume(values), MASK: open_volume(mask)})[KEY]
    equal(found, mt.Compose(dense)({KEY: values, MASK: mask})[KEY])


def test_masks_of_as_many_channels(values: Tensor) -> None:
    masks = (torch.rand(2, 14, 13, 12) > 0.5).float()
    equal(open_volume(values).masked(open_volume(masks)), values * masks)


def test_masks_do_not_hide_missing_values(values: Tensor, mask: Tensor) -> None:
    values[:, 0] = torch.nan
    with pytest.raises(ValueError, match="is nan, where a finite float32 is expected"):
        open_volume(values).masked(open_volume(mask)).gather(torch.tensor([[0, 6, 6]]), (1, 13, 12))


def test_masks_move_with_the_volume(values: Tensor, mask: Tensor) -> None:
    flip = np.diag([-1.0, 1, 1, 1])
    flip[0, 3] = 13
    equal(open_volume(values).masked(open_volume(mask)).sampled(Sampling(flip, (14, 13, 12))), (values * mask).flip(1))


def test_masks_of_another_grid(values: Tensor, mask: Tensor) -> None:
    with pytest.raises(ValueError, match="same spatial transforms"):
        open_volume(values).masked(open_volume(mask[:, 1:]))
    with pytest.raises(ValueError, match="one channel"):
        open_volume(values).masked(open_volume(mask.expand(3, -1, -1, -1)))
    flip = np.diag([-1.0, 1, 1, 1])
    flip[0, 3] = 13
    with pytest.raises(ValueError, match="lies up to 13 voxels beside"):
        open_volume(values).masked(open_volume(mask).sampled(Sampling(flip, (14, 13, 12))))


def test_samples_are_seeded_and_estimate() -> None:
    values = torch.randn(1, 60, 60, 60) * 5 + 3
    volume = open_volume(values)
    sample = voxel_sample(volume, 20_000)
    assert sample.shape == (1, 20_000)
    assert torch.equal(sample, voxel_sample(volume, 20_000))
    assert not torch.equal(sample, voxel_sample(volume, 20_000, seed=1))
    assert abs(sample.mean() - values.mean()) < 5 * 5 / 20_000**0.5
    assert abs(sample.std() / values.std() - 1) < 5 / 40_000**0.5
    scaled = ScaleIntensityRangePercentilesLazyd(KEY, 1, 99, samples=20_000)({KEY: volume})[KEY]
    found = scaled.gather(torch.tensor([[30, 30, 30]]), 60)[0]
    torch.testing.assert_close(found, torch.as_tensor(mt.ScaleIntensityRangePercentiles(1, 99, 0, 1)(values)), atol=0.06, rtol=0)


def test_nothing_to_normalize(caplog: pytest.LogCaptureFixture) -> None:
    volume = NormalizeIntensityLazyd(KEY, nonzero=True)({KEY: open_volume(torch.zeros(1, 5, 5, 5))})[KEY]
    assert volume.gather(torch.tensor([[2, 2, 2]]), 3).eq(0).all()
    assert "nonzero" in caplog.text
    with caplog.at_level(logging.WARNING):
        volume = NormalizeIntensityLazyd(KEY)({KEY: open_volume(torch.full((1, 5, 5, 5), 7.0))})[KEY]
    assert volume.gather(torch.tensor([[2, 2, 2]]), 3).eq(0).all()


def test_wrong_arguments(values: Tensor) -> None:
    with pytest.raises(ValueError, match="lower=90 and upper=5"):
        ScaleIntensityRangePercentilesLazyd(KEY, 90, 5)
    with pytest.raises(ValueError, match="needs 2 numbers"):
        NormalizeIntensityLazyd(KEY, subtrahend=3.0, channel_wise=True)({KEY: open_volume(values)})
    with pytest.raises(TypeError, match="'mask' holds a Tensor"):
        MaskIntensityLazyd(KEY, MASK)({KEY: open_volume(values), MASK: values})


# ---- estimates are made once -----------------------------------------------------------------------------------------------


@pytest.fixture
def items(tmp_path: Path, values: Tensor, mask: Tensor) -> list[dict[str, Any]]:
    """A scan and its mask; the mask is stored in another orientation."""
    nibabel.save(nibabel.Nifti1Image(values[0].numpy(), np.eye(4)), tmp_path / "scan.nii.gz")
    affine = np.diag([-1.0, 1, 1, 1])
    affine[0, 3] = 13
    nibabel.save(nibabel.Nifti1Image(mask[0].flip(0).numpy(), affine), tmp_path / "mask.nii.gz")
    return [{KEY: tmp_path / "scan.nii.gz", MASK: tmp_path / "mask.nii.gz"}]


def pipeline(*intensities: Any) -> mt.Compose:
    keys = [KEY, MASK]
    spatial = [mt.Orientationd(keys, "RAS"), mt.RandFlipd(keys, 0.5, 0), mt.RandAffined(keys, prob=1.0, rotate_range=0.3)]
    freeze = [FreezeLazyVolumed(KEY), FreezeLazyVolumed(MASK, mode="nearest")]
    return mt.Compose([LoadLazyVolumed(keys), *spatial, *freeze, *intensities], lazy=True)


def test_of_the_stored_scan_whatever_its_grid(items: list[dict[str, Any]], values: Tensor, mask: Tensor) -> None:
    for _ in range(3):
        volume = pipeline(MaskIntensityLazyd(KEY, MASK))(items[0])[KEY]
        torch.testing.assert_close(voxel_sample(volume, 10**6), (values * mask)[:1].flatten(1))


def test_one_estimate_for_all_epochs_and_workers(
    items: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def counted(*arguments: Any) -> Tensor:
        with (tmp_path / "samples").open("a") as file:
            file.write("x")
        return voxel_sample(*arguments)

    monkeypatch.setattr(statistics_module, "voxel_sample", counted)
    steps = [MaskIntensityLazyd(KEY, MASK), NormalizeIntensityLazyd(KEY, nonzero=True)]
    dataset = Dataset(items * 3, pipeline(*steps))
    seen = []
    for workers in (0, 2, 1):
        options = {"multiprocessing_context": "fork"} if workers else {}
        for batch in DataLoader(dataset, batch_size=1, num_workers=workers, **options):
            function = batch[KEY][0].intensity[1]
            seen.append((function.subtrahend, function.divisor))
        assert (tmp_path / "samples").read_text() == "x"
    assert len(set(seen)) == 1
    assert len(seen) == 9
    pipeline(NormalizeIntensityLazyd(KEY))(items[0])
    pipeline(MaskIntensityLazyd(KEY, MASK), NormalizeIntensityLazyd(KEY, seed=1))(items[0])
    pipeline(MaskIntensityLazyd(KEY, MASK), ScaleIntensityRangeLazyd(KEY, 0, 9), NormalizeIntensityLazyd(KEY))(items[0])
    assert (tmp_path / "samples").read_text() == "xxxx"
    nibabel.save(nibabel.Nifti1Image(np.ones((14, 13, 12), np.float32) * 3, np.eye(4)), items[0][KEY])
    pipeline(*steps)(items[0])
    assert (tmp_path / "samples").read_text() == "xxxxx"


# ---- real scans ------------------------------------------------------------------------------------------------------------


def test_real_brain(real_data: Path) -> None:
    file = next((real_data / "brain_openms_4mod" / "patient07").glob("FLAIR_N4*"))
    dense = mt.LoadImage(image_only=True, ensure_channel_first=True)(file).as_tensor()
    centres = points_around(dense.shape)
    lazy = NormalizeIntensityLazyd(KEY, nonzero=True)({KEY: open_volume(file)})[KEY]
    expected = torch.as_tensor(mt.NormalizeIntensity(nonzero=True)(dense.clone()))
    assert (lazy.gather(centres, 5) - dense_patches(expected, centres, (5, 5, 5))).abs().max() < 0.05
    lazy = ScaleIntensityRangePercentilesLazyd(KEY, 1, 99)({KEY: open_volume(file)})[KEY]
    expected = torch.as_tensor(mt.ScaleIntensityRangePercentiles(1, 99, 0, 1)(dense))
    assert (lazy.gather(centres, 5) - dense_patches(expected, centres, (5, 5, 5))).abs().max() < 0.02
