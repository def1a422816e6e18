"""The simulated brain: background, labels that the modalities show, and what the tumour's parameters do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from monai_cpic.phantoms.brain import EDEMA, ENHANCING, NECROSIS, Tumour, render_brain
from monai_cpic.phantoms.rendering import Grid

GRID = Grid((52, 80, 80), (3.0, 3.0, 3.0))
TUMOUR = Tumour(centre=(10.0, -25.0, 30.0), radius=18.0, edema=15.0, enhancement=0.5)

Scan = tuple[dict[str, np.ndarray], np.ndarray]


def render(tumour: Tumour) -> Scan:
    return render_brain(GRID, tumour, np.random.default_rng(1))


@pytest.fixture(scope="module")
def scan() -> Scan:
    return render(TUMOUR)


def test_skull_stripped_modalities_of_one_brain(scan: Scan) -> None:
    modalities, labels = scan
    assert list(modalities) == ["flair", "t1", "t1ce", "t2"]
    brain = modalities["t1"] > 0
    for image in modalities.values():
        assert image.shape == GRID.shape and image.dtype == np.int16 and image.min() == 0
        np.testing.assert_array_equal(image > 0, brain)
    assert 1.1e6 < brain.sum() * 27 < 1.7e6  # mm³
    assert labels.dtype == np.uint8 and set(np.unique(labels)) == {0, NECROSIS, EDEMA, ENHANCING} and not labels[~brain].any()


def test_modalities_show_the_parts_of_the_tumour(scan: Scan) -> None:
    modalities, labels = scan
    healthy = (modalities["t1"] > 0) & (labels == 0)

    def contrast(name: str, label: int) -> float:
        return modalities[name][labels == label].mean() / modalities[name][healthy].mean()

    assert contrast("flair", EDEMA) > 1.4 and contrast("t2", EDEMA) > 1.2 and contrast("t1", EDEMA) < 0.9
    assert contrast("t1ce", ENHANCING) > 1.3 and contrast("t1", ENHANCING) < 1.1
    assert contrast("t1", NECROSIS) < 0.7 and contrast("t2", NECROSIS) > 1.3


def test_place_and_size(scan: Scan) -> None:
    core = np.isin(scan[1], (NECROSIS, ENHANCING))
    centre = (np.argwhere(core).mean(0) * 3 + GRID.origin).tolist()
    np.testing.assert_allclose(centre, TUMOUR.centre, atol=5)
    assert core.sum() * 27 == pytest.approx(4 / 3 * np.pi * TUMOUR.radius**3, rel=0.35)
    larger = np.isin(render(replace(TUMOUR, radius=24.0))[1], (NECROSIS, ENHANCING))
    assert 1.7 < larger.sum() / core.sum() < 3
    assert (render(replace(TUMOUR, edema=5.0))[1] == EDEMA).sum() < 0.6 * (scan[1] == EDEMA).sum()


def test_enhancement_is_seen_in_t1ce_only(scan: Scan) -> None:
    modalities, labels = render(replace(TUMOUR, enhancement=0.9))
    rim = (labels == ENHANCING) & (scan[1] == ENHANCING)
    assert (labels == ENHANCING).sum() > 1.2 * (scan[1] == ENHANCING).sum()
    assert modalities["t1ce"][rim].mean() > 1.2 * scan[0]["t1ce"][rim].mean()
    for name in ("flair", "t1", "t2"):
        np.testing.assert_array_equal(modalities[name][rim], scan[0][name][rim])
