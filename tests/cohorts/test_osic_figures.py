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

from monai_cpic.cohorts.osic.figures import fvc_calibration, fvc_curves, predicted_against_measured


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
    quantiles = {"q20": median - half, "q50": median, "q80": median + half}
    return pd.DataFrame({"FVC_measured": measured, **quantiles, "low": median - 2 * half, "high": median + 2 * half})


def test_predicted_against_measured() -> None:
    table = predictions()
    table.loc[::4, "FVC_measured"] = np.nan
    axes = rendered(predicted_against_measured(table, "change of FVC")).axes[0]
    rows = table.dropna()
    r2 = 1 - ((rows.FVC_measured - rows.q50) ** 2).mean() / rows.FVC_measured.var(ddof=0)
    mae = (rows.FVC_measured - rows.q50).abs().mean()
    assert axes.get_title() == f"change of FVC: R² = {r2:.2f}, MAE = {mae:.0f} ml"
    bars, points = axes.collections
    assert isinstance(bars, LineCollection)
    assert np.allclose(points.get_offsets(), rows[["FVC_measured", "q50"]])
    assert np.allclose([bar[:, 1] for bar in bars.get_segments()], rows[["low", "high"]])
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("measured change of FVC (ml)", "predicted change of FVC (ml)")
    legend = axes.get_legend()
    assert legend is not None and len(legend.texts) == 3


def test_one_measurement_has_no_r2_and_none_no_plot() -> None:
    table = predictions(1)
    assert "R² = not defined" in rendered(predicted_against_measured(table)).axes[0].get_title()
    for draw in (predicted_against_measured, fvc_calibration):
        nothing = rendered(draw(table.assign(FVC_measured=np.nan)))
        assert not nothing.axes and "No visit" in nothing.texts[0].get_text()


def visits(patients: int) -> pd.DataFrame:
    table = pd.concat(
        [predictions(6).assign(Patient=f"P{k:02}", Weeks=np.random.default_rng(k).permutation(6) * 10) for k in range(patients)],
        ignore_index=True,
    )
    return table.assign(baseline_week=-4, baseline_fvc=2500.0).sample(frac=1, random_state=0)


def test_calibration_is_the_share_below_each_quantile() -> None:
    table = visits(9).sort_values("Patient")
    table.loc[table.index[:7], "FVC_measured"] = np.nan
    axes = rendered(fvc_calibration(table)).axes[0]
    rows = table.dropna()
    expected = [(rows.FVC_measured <= rows[name]).mean() for name in ("q20", "q50", "q80")]
    assert np.allclose(axes.lines[1].get_xydata(), np.stack([(0.2, 0.5, 0.8), expected], 1))
    (bars,) = axes.collections
    assert isinstance(bars, LineCollection)
    assert all(
        low <= share <= high for (low, high), share in zip([bar[:, 1] for bar in bars.get_segments()], expected, strict=True)
    )


def test_fvc_curves_are_sorted_and_complete() -> None:
    table = visits(3)
    table.loc[table.Patient == "P01", "FVC_measured"] = np.nan
    rival = table[["q50"]] + 100.0
    figures = fvc_curves(table, ("ridge", rival))
    assert list(figures) == list(table.Patient.unique())
    for patient, figure in figures.items():
        (axes,) = rendered(figure).axes
        assert axes.get_title() == patient and axes.get_ylabel() == "FVC (ml)"
        rows = table[table.Patient == patient].sort_values("Weeks")
        median, other, measured, baseline = axes.lines
        assert np.array_equal(median.get_xydata(), rows[["Weeks", "q50"]])
        assert np.array_equal(other.get_ydata(), rows["q50"] + 100)
        assert np.array_equal(measured.get_xydata(), rows[["Weeks", "FVC_measured"]], equal_nan=True)
        assert np.array_equal(baseline.get_xydata(), [[-4, 2500]])
        band = np.asarray(axes.collections[0].get_paths()[0].vertices)
        assert {tuple(vertex) for vertex in rows[["Weeks", "low"]].to_numpy()} <= {tuple(vertex) for vertex in band}
        texts = [text.get_text() for text in figure.legends[0].texts]
        assert texts == ["60 % interval", "predicted median", "ridge", "measured", "baseline visit"]
    limits = {(figure.axes[0].get_xlim(), figure.axes[0].get_ylim()) for figure in figures.values()}
    assert len(limits) == 1


def test_fvc_curves_of_the_first_patients() -> None:
    table = visits(6)
    assert list(fvc_curves(table, limit=5)) == list(table.Patient.unique()[:5])
    assert not fvc_curves(table.head(0))


@pytest.mark.parametrize("name", [r"$\bad$", "$", "a_b^{", "<script>"])
def test_any_name_of_a_patient_can_be_drawn(name: str) -> None:
    figure = rendered(fvc_curves(visits(1).assign(Patient=name))[name])
    assert figure.axes[0].get_title() == name


def test_a_single_visit_is_visible() -> None:
    table = visits(1).head(1).assign(FVC_measured=np.nan, low=1000.0, q50=2000.0, high=3000.0)
    empty = table.assign(low=2000.0, high=2000.0)
    drawn, without = io.BytesIO(), io.BytesIO()
    for data, stream in ((table, drawn), (empty, without)):
        (figure,) = fvc_curves(data).values()
        figure.axes[0].set(xlim=(0, 100), ylim=(500, 3500))
        figure.savefig(stream, format="rgba", dpi=60)
    assert drawn.getvalue() != without.getvalue()
