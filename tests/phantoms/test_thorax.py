"""The simulated chest: anatomy in HU, and fibrosis as texture that changes no mean density."""

from __future__ import annotations

import numpy as np
import pytest

from monai_cpic.phantoms.rendering import Grid
from monai_cpic.phantoms.thorax import render_thorax

GRID = Grid((30, 128, 128), (9.0, 3.0, 3.0))


@pytest.fixture(scope="module")
def scans() -> dict[float, np.ndarray]:
    """The same patient at several stages."""
    return {extent: render_thorax(GRID, extent, np.random.default_rng(1)).astype(float) for extent in (0, 0.3, 0.6, 1)}


@pytest.fixture(scope="module")
def lungs(scans: dict[float, np.ndarray]) -> np.ndarray:
    """Lung voxels of the healthy scan: those around which fibrosis makes a difference, at most."""
    return (scans[0] < -700) & (np.abs(scans[1] - scans[0]) > 1)


def test_grid_is_centred() -> None:
    z, y, x = Grid((3, 4, 5), (10.0, 2.0, 1.0)).axes()
    np.testing.assert_allclose(z.ravel(), [-10, 0, 10])
    np.testing.assert_allclose(y.ravel(), [-3, -1, 1, 3])
    np.testing.assert_allclose(x.ravel(), [-2, -1, 0, 1, 2])


def test_anatomy(scans: dict[float, np.ndarray], lungs: np.ndarray) -> None:
    healthy = scans[0]
    assert healthy[:, :3].mean() == pytest.approx(-1000, abs=5)  # air in front of the patient
    assert np.median(healthy[lungs]) == pytest.approx(-850, abs=60)
    assert 2.5e6 < lungs.sum() * 81 < 7e6  # lung volume in mm³
    assert (healthy > 300).any(axis=(1, 2)).all()  # bone in every slice
    width = lungs.any(axis=(0, 1)).sum() * 3
    assert 200 < width < 310
    left, right = lungs[:, :, 64:].sum(), lungs[:, :, :64].sum()
    assert right > left  # the heart lies on the left


def test_fibrosis_changes_texture_but_not_density(scans: dict[float, np.ndarray], lungs: np.ndarray) -> None:
    everywhere = np.ones_like(lungs)
    roughness = []
    for scan in scans.values():
        assert scan[everywhere].mean() == pytest.approx(scans[0][everywhere].mean(), abs=1)
        roughness.append(np.abs(np.diff(scan, axis=2))[lungs[:, :, 1:] & lungs[:, :, :-1]].mean())
    assert np.all(np.diff(roughness) > 10)


def test_extent_is_the_affected_fraction(scans: dict[float, np.ndarray], lungs: np.ndarray) -> None:
    for extent in (0.3, 0.6, 1):
        changed = np.abs(scans[extent] - scans[0])[lungs] > 1
        assert changed.mean() == pytest.approx(extent, abs=0.05)


def test_fibrosis_is_basal_and_peripheral(scans: dict[float, np.ndarray], lungs: np.ndarray) -> None:
    changed = (np.abs(scans[0.3] - scans[0]) > 1) & lungs
    z = np.arange(len(lungs))[:, None, None]
    assert (z * changed).sum() / changed.sum() < (z * lungs).sum() / lungs.sum() - 3
    middle = slice(10, 16)
    x = np.abs(np.arange(128) - 63.5)[None, None]
    assert (x * changed)[middle].sum() / changed[middle].sum() > (x * lungs)[middle].sum() / lungs[middle].sum()
