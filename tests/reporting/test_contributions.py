"""Maps are read back with nibabel; the figure from its artists."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from monai_cpic.data import LazyVolume, Sampling, open_volume
from monai_cpic.networks import Attribution
from monai_cpic.reporting.contribution_figures import contributions
from monai_cpic.reporting.contribution_map import contribution_map, write_contribution_map

AFFINE = np.array([[0, -2.0, 0, 30], [-1.0, 0, 0, 20], [0, 0, 4.0, -70], [0, 0, 0, 1]])


@pytest.fixture
def scan() -> LazyVolume:
    return replace(open_volume(torch.rand(1, 20, 12, 10)), affine=torch.from_numpy(AFFINE))


def attribution(points: list[list[int]], steps: tuple[int, ...] = (1,)) -> Attribution:
    shares = torch.randn(len(points), len(steps), 3, 3, 3)
    return Attribution(-200.0, torch.tensor(points), shares.double().sum((1, 2, 3, 4)), shares, steps)


def test_a_patch_lies_around_its_point(scan: LazyVolume) -> None:
    found = attribution([[5, 6, 7]])
    total = contribution_map(scan, found)
    assert np.allclose(total[4:7, 5:8, 6:9], found.shares[0, 0])
    total[4:7, 5:8, 6:9] = 0
    assert not total.any()


def test_nothing_is_lost_at_borders_in_the_padding_and_in_coarse_patches(scan: LazyVolume) -> None:
    found = attribution([[0, 0, 0], [19, 11, 9], [25, 3, 3], [10, 6, 5]], steps=(1, 4))
    assert contribution_map(scan, found).sum() == pytest.approx(found.values.sum().item(), abs=1e-5)


def test_a_coarse_voxel_is_shared_by_its_block(scan: LazyVolume) -> None:
    found = attribution([[9, 6, 5]], steps=(4,))  # spacing 1, 2, 4: blocks of 4, 2, 1 voxels
    total = contribution_map(scan, found)
    assert np.allclose(total[8:12, 6:8, 5], found.shares[0, 0, 1, 1, 1] / 8)


@pytest.mark.parametrize("suffix", ["nii", "nii.gz"])
def test_the_file_lies_on_the_stored_scan(scan: LazyVolume, tmp_path: Path, suffix: str) -> None:
    matrix = np.diag([2.0, 2.0, 1.0, 1.0])
    matrix[:2, 3] = 0.5  # a voxel of the coarse grid covers two by two stored ones
    seen = scan.sampled(Sampling(matrix, (10, 6, 10)))
    found = attribution([[3, 2, 4]])
    path = tmp_path / "new" / f"map.{suffix}"
    write_contribution_map(path, seen, found)
    image = nibabel.load(path)
    assert isinstance(image, nibabel.Nifti1Image)
    values = image.get_fdata()
    assert image.shape == (20, 12, 10) and np.allclose(image.affine, AFFINE)
    total = contribution_map(seen, found)
    assert np.allclose(values, total.repeat(2, 0).repeat(2, 1) / (4 * 8 / 1000), rtol=1e-5)  # 32 mm³
    assert (values.sum() * 8 / 1000) == pytest.approx(found.values.sum().item(), rel=1e-4, abs=1e-5)
    assert list(path.parent.iterdir()) == [path]


def test_the_figure_shows_scan_and_contributions(scan: LazyVolume) -> None:
    found = attribution([[5, 6, 7], [12, 3, 2]])
    figure = contributions(scan, found, "change of FVC (ml), $x")
    figure.savefig(io.BytesIO(), format="png", dpi=40)
    panels = figure.axes[:-1]
    assert len(panels) == 4 and all(len(axes.images) == 2 for axes in panels)
    assert figure.get_suptitle().startswith("change of FVC (ml), $x: −200 = ")
    assert [text.get_text() for text in panels[0].texts] == ["R", "L", "A", "P"]
    low, high = panels[0].images[1].get_clim()
    assert low == -high < 0


def test_no_contribution_is_drawn_too(scan: LazyVolume) -> None:
    nothing = Attribution(0.25, torch.empty(0, 3, dtype=torch.int64), torch.empty(0).double(), torch.empty(0, 1, 3, 3, 3), (1,))
    figure = contributions(scan, nothing, "logit")
    figure.savefig(io.BytesIO(), format="png", dpi=40)
    assert figure.get_suptitle() == "logit: 0.25 = 0.25 without structure + 0"
