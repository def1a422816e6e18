"""What the figures show is read back from their artists; every figure is rendered."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from monai_cpic.cohorts.osic.figures import fvc_curves, predicted_against_measured


@pytest.fixture(autouse=True)
def _no_pyplot_figures() -> Iterator[None]:
    yield
    assert not pyplot.get_fignums()


def rendered(figure: Figure) -> Figure:
    figure.savefig(io.BytesIO(), format="png", dpi=40)
    return figure


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
    assert isinstance(bars, LineCollection)
    assert np.allclose(points.get_offsets(), rows[["FVC_measured", "q50"]])
    assert np.allclose([bar[:, 1] for bar in bars.get_segments()], rows[["q20", "q80"]])
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("measured FVC (ml)", "predicted FVC (ml)")
    legend = axes.get_legend()
    assert legend is not None and len(legend.texts) == 3


def test_one_measurement_has_no_r2_and_none_no_plot() -> None:
    table = predictions(1)
    assert "R² = not defined" in rendered(predicted_against_measured(table)).axes[0].get_title()
    nothing = rendered(predicted_against_measured(table.assign(FVC_measured=np.nan)))
    assert not nothing.axes and "No visit" in nothing.texts[0].get_text()


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
        band = np.asarray(axes.collections[0].get_paths()[0].vertices)
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
