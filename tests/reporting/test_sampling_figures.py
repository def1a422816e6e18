"""Pictures and points are read back from the figures' artists; every figure is rendered."""

from __future__ import annotations

import io
from dataclasses import replace
from itertools import pairwise

import nibabel
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure

from monai_cpic.data import LazyVolume, open_volume
from monai_cpic.reporting.radiological_view import NEAR, crowded_levels
from monai_cpic.reporting.sampling_figures import channel_positions, sample_positions


def rendered(figure: Figure) -> Figure:
    figure.savefig(io.BytesIO(), format="png", dpi=40)
    return figure


def shown(axes: Axes) -> np.ndarray:
    """The picture of an axes."""
    return np.asarray(axes.images[0].get_array())


def dots(axes: Axes) -> list[list[float]]:
    """Sorted positions of a scatter."""
    return sorted(np.asarray(axes.collections[0].get_offsets()).tolist())


def mesh(axes: Axes) -> QuadMesh:
    """The density of a coronal view."""
    (drawn,) = (artist for artist in axes.collections if isinstance(artist, QuadMesh))
    return drawn


def counts(density: QuadMesh) -> np.ndarray:
    """Points in each cell; those without are masked."""
    return np.ma.filled(np.ma.asarray(density.get_array()), 0)


LPS = np.diag([-0.8, -0.8, 2.5, 1.0])  # voxels to RAS millimetres of a DICOM scan: x to the left, y to the back, z to the head


def volume(values: torch.Tensor, affine: np.ndarray) -> LazyVolume:
    return replace(open_volume(values), affine=torch.from_numpy(affine))


@pytest.fixture
def scan() -> torch.Tensor:
    return torch.rand(2, 12, 10, 30)


@pytest.fixture
def points() -> torch.Tensor:
    crowd = torch.tensor([[3, 4, 25], [5, 6, 25], [5, 1, 24], [7, 2, 27], [7, 7, 28], [11, 9, 5], [0, 0, 5]])
    return torch.cat([crowd, torch.tensor([[12, 0, 0], [0, -1, 25], [0, 0, 30]])])


def test_slices_and_points_of_a_dicom_scan(scan: torch.Tensor, points: torch.Tensor) -> None:
    figure = rendered(sample_positions(volume(scan, LPS), points, slices=2))
    low, high, coronal = figure.axes[:3]
    assert np.array_equal(shown(low), scan[0, :, :, 5].T)  # x to the right, y down: the patient's left and back
    assert dots(low) == [[0, 0], [11, 9]]
    assert high.get_title() == f"axial, z = 25: 4 voxels within {NEAR} slices"
    assert np.array_equal(shown(high), scan[0, :, :, 25].T) and dots(high) == [[3, 4], [5, 1], [5, 6], [7, 2]]
    assert np.array_equal(shown(coronal), scan[0, :, 5].T.flip(0))  # the head is up
    assert figure.get_suptitle() == "7 of 3,600 voxels (0.194 %); 3 points lie outside the volume and are not drawn"
    assert low.get_aspect() == 1 and coronal.get_aspect() == pytest.approx(2.5 / 0.8)
    assert [text.get_text() for text in low.texts] == ["R", "L", "A", "P"]
    assert counts(mesh(coronal)).sum() == 7


@pytest.mark.parametrize("axes", ["RAS", "ASR", "PIL", "ILP"])
def test_the_order_of_the_voxels_does_not_change_the_picture(axes: str, scan: torch.Tensor, points: torch.Tensor) -> None:
    """Oracle: nibabel's reorientation."""
    expected = sample_positions(volume(scan, LPS), points[:7], slices=2)
    image = nibabel.Nifti1Image(scan[0].numpy(), LPS)
    turned = image.as_reoriented(
        nibabel.orientations.ornt_transform(
            nibabel.orientations.io_orientation(LPS), nibabel.orientations.axcodes2ornt(tuple(axes))
        )
    )
    to_turned = np.linalg.inv(turned.affine) @ LPS
    moved = torch.from_numpy(np.rint(nibabel.affines.apply_affine(to_turned, points[:7].numpy())).astype(np.int64))
    figure = rendered(sample_positions(volume(torch.from_numpy(turned.get_fdata())[None], turned.affine), moved, slices=2))
    pictures = [np.round(shown(panel), 5) for panel in figure.axes[:2]]
    if axes[[c in "SI" for c in axes].index(True)] == "I":  # levels are counted from the head
        pictures.reverse()
        found = [dots(figure.axes[1]), dots(figure.axes[0])]
    else:
        found = [dots(figure.axes[0]), dots(figure.axes[1])]
    assert all(np.array_equal(a, np.round(shown(b), 5)) for a, b in zip(pictures, expected.axes, strict=False))
    assert found == [dots(panel) for panel in expected.axes[:2]]
    assert [panel.get_aspect() for panel in figure.axes[:3]] == pytest.approx([panel.get_aspect() for panel in expected.axes[:3]])


def test_coronal_density_lies_where_the_points_are(scan: torch.Tensor) -> None:
    point = torch.tensor([[2, 3, 27]])
    coronal = rendered(sample_positions(volume(scan, LPS), point, slices=1)).axes[1]
    density = mesh(coronal)
    row, column = np.argwhere(counts(density) > 0)[0]
    corners = np.asarray(density.get_coordinates())
    (left, top), (right, bottom) = corners[row, column], corners[row + 1, column + 1]
    assert left <= 2 <= right and top <= 2 <= bottom  # the third slice from the head
    assert coronal.get_ylim() == (29.5, -0.5) and coronal.get_xlim() == (-0.5, 11.5)


def test_no_points_few_slices() -> None:
    figure = rendered(sample_positions(open_volume(torch.zeros(1, 4, 5, 2)), torch.empty(0, 3, dtype=torch.int64), slices=5))
    assert len(figure.axes) == 3 and figure.get_suptitle() == "0 of 40 voxels (0.000 %)"


@pytest.mark.parametrize(("points", "slices"), [(torch.zeros(3, 2), 3), (torch.zeros(3), 3), (torch.zeros(1, 3), 0)])
def test_wrong_shapes(points: torch.Tensor, slices: int) -> None:
    with pytest.raises(ValueError, match="expected a volume|at least 1 slice"):
        sample_positions(volume(torch.zeros(1, 3, 3, 3), LPS), points.long(), slices)
    with pytest.raises(ValueError, match=r"got \(1, 3, 3\)"):
        sample_positions(open_volume(torch.zeros(1, 3, 3)), torch.zeros(1, 3, dtype=torch.int64))


@given(st.lists(st.integers(0, 9), min_size=1, max_size=60), st.integers(1, 6))
def test_crowded_levels(counts: list[int], number: int) -> None:
    levels = crowded_levels(np.array(counts), number)
    near = [sum((1 + NEAR - abs(k - j)) * n for j, n in enumerate(counts) if abs(k - j) <= NEAR) for k in range(len(counts))]
    assert len(levels) == min(number, len(counts))
    assert max(near) in [near[level] for level in levels]
    assert all(b - a >= max(1, len(counts) // (2 * number)) for a, b in pairwise(levels))


def test_every_channel_shows_the_slice_with_most_points(scan: torch.Tensor, points: torch.Tensor) -> None:
    figure = rendered(channel_positions(volume(scan, LPS), points, ["t1", "t2"]))
    assert [axes.get_title() for axes in figure.axes] == ["t1", "t2"]
    for channel, axes in enumerate(figure.axes):
        assert np.array_equal(shown(axes), scan[channel, :, :, 25].T) and dots(axes) == [[3, 4], [5, 1], [5, 6], [7, 2]]
    assert figure.get_suptitle().endswith(f"axial, z = 25: 4 voxels within {NEAR} slices")
    with pytest.raises(ValueError, match=r"a name for each of 2 channels, got \['t1'\]"):
        channel_positions(volume(scan, LPS), points, ["t1"])
