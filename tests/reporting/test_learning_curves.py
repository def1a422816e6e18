"""What the figure shows is read back from its artists."""

from __future__ import annotations

import io

import numpy as np
import pytest
from matplotlib.figure import Figure

from monai_cpic.reporting.learning_curves import learning_curves


def rendered(figure: Figure) -> Figure:
    figure.savefig(io.BytesIO(), format="png", dpi=40)
    return figure


def test_learning_curves_show_metrics_where_they_exist() -> None:
    history = [
        {"epoch": 1, "loss": 3.0},
        {"epoch": 2, "loss": 2.0, "score": -7.0, "pinball_loss": 80.0},
        {"epoch": 3, "loss": 1.0},
    ]
    figure = rendered(learning_curves([*history, {"epoch": 4, "loss": float("nan"), "score": -6.8}]))
    assert [axes.get_title() for axes in figure.axes] == ["loss", "score", "pinball loss"]
    assert {axes.get_xlabel() for axes in figure.axes} == {"epoch"}
    losses, scores = (np.asarray(axes.lines[0].get_xydata()) for axes in figure.axes[:2])
    assert scores.tolist() == [[2, -7.0], [4, -6.8]]
    assert losses[:3].tolist() == [[1, 3], [2, 2], [3, 1]]


@pytest.mark.parametrize("panels", [1, 4, 7])
def test_lowest_panels_name_the_epochs(panels: int) -> None:
    axes = rendered(learning_curves([{"epoch": 1, **{f"m{k}": 1.0 for k in range(panels)}}])).axes
    assert len(axes) == panels
    named = [axis for axis in axes if axis.get_xlabel()]
    assert named == axes[-3:]
    assert all(any(label.get_visible() for label in axis.get_xticklabels()) for axis in named)


def test_no_epoch_no_plot() -> None:
    assert not rendered(learning_curves([])).axes
