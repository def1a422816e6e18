"""What the figures show is read back from their artists; every figure is rendered."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import nibabel
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from monai_cpic.apps.figures import (
    NEAR,
    _crowded,
    fvc_curves,
    learning_curves,
    predicted_against_measured,
    sample_positions,
)
from monai_cpic.data import LazyVolume, open_volume


@pytest.fixture(autouse=True)
def _no_pyplot_figures() -> Iterator[None]:
    yield
    assert not pyplot.get_fignums()


def rendered(figure: Figure) -> Figure:
    figure.savefig(io.BytesIO(), format="png", dpi=40)
    return figure


def shown(axes: Axes) -> np.ndarray:
    """The picture of an axes."""
    return np.asarray(axes.images[0].get_array())


def dots(axes: Axes) -> list[list[float]]:
    """Sorted positions of a scatter."""
    return sorted(np.asarray(axes.collections[0].get_offsets()).tolist())


# ---- curves ------------------------------------------------------------------------------------------------------------


def test_learning_curves_show_metrics_where_they_exist() -> None:
    history = [
        {"epoch": 1, "loss": 3.0},
        {"epoch": 2, "loss": 2.0, "score": -7.0, "pinball_loss": 80.0},
        {"epoch": 3, "loss": 1.0},
    ]
    figure = rendered(learning_curves([*history, {"epoch": 4, "loss": float("nan"), "score": -6.8}]))
    assert [axes.get_title() for axes in figure.axes] == ["loss", "score", "pinball loss"]
    assert {axes.get_xlabel() for axes in figure.axes} == {"epoch"}
    assert figure.axes[1].lines[0].get_xydata().tolist() == [[2, -7.0], [4, -6.8]]
    assert figure.axes[0].lines[0].get_xydata()[:3].tolist() == [[1, 3], [2, 2], [3, 1]]


@pytest.mark.parametrize("panels", [1, 4, 7])
def test_lowest_panels_name_the_epochs(panels: int) -> None:
    axes = rendered(learning_curves([{"epoch": 1, **{f"m{k}": 1.0 for k in range(panels)}}])).axes
    assert len(axes) == panels
    named = [axis for axis in axes if axis.get_xlabel()]
    assert named == axes[-3:]
    assert all(any(label.get_visible() for label in axis.get_xticklabels()) for axis in named)


def predictions(rows: int = 40) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    measured = rng.normal(2700, 800, rows)
    median = measured + rng.normal(0, 150, rows)
    half = rng.uniform(20, 300, rows)
    return pd.DataFrame({"FVC_measured": measured, "q20": median - half, "q50": median, "q80": median + half})


def test_predicted_against_measured() -> None:
    table = predictions()
    table.loc[::4, "FVC_measured"] = np.nan
    axes = rendered(predicted_against_measured(table)).axes[0]
    rows = table.dropna()
    r2 = 1 - ((rows.FVC_measured - rows.q50) ** 2).mean() / rows.FVC_measured.var(ddof=0)
    mae = (rows.FVC_measured - rows.q50).abs().mean()
    inside = rows.FVC_measured.between(rows.q20, rows.q80).mean()
    title = axes.get_title()
    assert f"R² = {r2:.3f}, MAE = {mae:.0f} ml" in title and f"{100 * inside:.0f} % of 30 measurements" in title
    bars, points = axes.collections
    assert np.allclose(points.get_offsets(), rows[["FVC_measured", "q50"]])
    assert np.allclose([bar[:, 1] for bar in bars.get_segments()], rows[["q20", "q80"]])
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("measured FVC (ml)", "predicted FVC (ml)")
    assert len(axes.get_legend().texts) == 3


def test_one_measurement_has_no_r2_and_none_no_plot() -> None:
    table = predictions(1)
    assert "R² = not defined" in rendered(predicted_against_measured(table)).axes[0].get_title()
    nothing = rendered(predicted_against_measured(table.assign(FVC_measured=np.nan)))
    assert not nothing.axes and "No visit" in nothing.texts[0].get_text()
    assert not rendered(learning_curves([])).axes


def visits(patients: int) -> pd.DataFrame:
    table = pd.concat(
        [predictions(6).assign(Patient=f"P{k:02}", Weeks=np.random.default_rng(k).permutation(6) * 10) for k in range(patients)]
    )
    return table.sample(frac=1, random_state=0)


def test_fvc_curves_are_sorted_and_complete() -> None:
    table = visits(3)
    table.loc[table.Patient == "P01", "FVC_measured"] = np.nan
    figure = rendered(fvc_curves(table, ["P02", "P01"]))
    assert [axes.get_title() for axes in figure.axes] == ["P02", "P01"]
    assert figure.get_suptitle() == "2 of 3 patients" and figure.get_supylabel() == "FVC (ml)"
    for axes in figure.axes:
        rows = table[table.Patient == axes.get_title()].sort_values("Weeks")
        median, measured = axes.lines
        assert np.array_equal(median.get_xydata(), rows[["Weeks", "q50"]])
        assert np.array_equal(measured.get_xydata(), rows[["Weeks", "FVC_measured"]], equal_nan=True)
        band = axes.collections[0].get_paths()[0].vertices
        assert {tuple(vertex) for vertex in rows[["Weeks", "q20"]].to_numpy()} <= {tuple(vertex) for vertex in band}
    assert [text.get_text() for text in figure.legends[0].texts] == ["20 to 80 % interval", "median", "measured"]


def test_fvc_curves_limit_and_unknown_patients() -> None:
    table = visits(6)
    figure = rendered(fvc_curves(table, limit=5))
    assert [axes.get_title() for axes in figure.axes] == list(table.Patient.unique()[:5])
    assert figure.get_suptitle() == "5 of 6 patients"
    assert len(fvc_curves(table, list(table.Patient.unique()), limit=2).axes) == 6
    with pytest.raises(ValueError, match="no rows of the patients \\['X'\\]"):
        fvc_curves(table, ["X", "P01"])
    assert not rendered(fvc_curves(table.head(0))).axes


def test_a_single_visit_is_visible() -> None:
    table = visits(1).head(1).assign(FVC_measured=np.nan, q20=1000.0, q50=2000.0, q80=3000.0)
    empty = table.assign(q20=2000.0, q80=2000.0)
    drawn, without = io.BytesIO(), io.BytesIO()
    for data, stream in ((table, drawn), (empty, without)):
        figure = fvc_curves(data)
        figure.axes[0].set(xlim=(0, 100), ylim=(500, 3500))
        figure.savefig(stream, format="rgba", dpi=60)
    assert drawn.getvalue() != without.getvalue()


# ---- sampled voxels ----------------------------------------------------------------------------------------------------

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
    density = np.asarray(coronal.collections[0].get_array().filled(0))
    assert density.sum() == 7


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
    mesh = coronal.collections[0]
    row, column = np.argwhere(mesh.get_array().filled(0) > 0)[0]
    left, top = mesh.get_coordinates()[row, column]
    right, bottom = mesh.get_coordinates()[row + 1, column + 1]
    assert left <= 2 <= right and top <= 2 <= bottom  # the third slice from the head
    assert coronal.get_ylim() == (29.5, -0.5) and coronal.get_xlim() == (-0.5, 11.5)


def test_no_points_few_slices_no_affine() -> None:
    class Bare:
        """Has no affine."""

        shape = (1, 4, 5, 2)

        def gather(self, centres: torch.Tensor, size: list[int]) -> torch.Tensor:
            return torch.zeros(1, 1, *size)

    figure = rendered(sample_positions(Bare(), torch.empty(0, 3, dtype=torch.int64), slices=5))
    assert len(figure.axes) == 3 and figure.get_suptitle() == "0 of 40 voxels (0.000 %)"


@pytest.mark.parametrize(("points", "slices"), [(torch.zeros(3, 2), 3), (torch.zeros(3), 3), (torch.zeros(1, 3), 0)])
def test_wrong_shapes(points: torch.Tensor, slices: int) -> None:
    with pytest.raises(ValueError, match="expected a volume"):
        sample_positions(volume(torch.zeros(1, 3, 3, 3), LPS), points.long(), slices)
    with pytest.raises(ValueError, match=r"got \(1, 3, 3\)"):
        sample_positions(open_volume(torch.zeros(1, 3, 3)), torch.zeros(1, 3, dtype=torch.int64))


@given(st.lists(st.integers(0, 9), min_size=1, max_size=60), st.integers(1, 6))
def test_crowded_levels(counts: list[int], number: int) -> None:
    levels = _crowded(np.array(counts), number)
    near = [sum((1 + NEAR - abs(k - j)) * n for j, n in enumerate(counts) if abs(k - j) <= NEAR) for k in range(len(counts))]
    assert len(levels) == min(number, len(counts))
    assert max(near) in [near[level] for level in levels]
    assert all(b - a >= max(1, len(counts) // (2 * number)) for a, b in pairwise(levels))
