"""A simulated brain MRI with a glioma, without the skull: four modalities and the segmentation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from monai_cpic.phantoms.rendering import Grid, mix, smooth_noise

NECROSIS = 1  # labels of the segmentation
EDEMA = 2
ENHANCING = 4

# Intensities of: white matter, grey matter, fluid, edema, enhancing tumour (without contrast agent), necrosis
_INTENSITIES = {
    "flair": (320, 390, 90, 620, 520, 330),
    "t1": (430, 330, 130, 280, 310, 190),
    "t1ce": (430, 340, 130, 280, 360, 190),
    "t2": (300, 420, 820, 580, 480, 640),
}
_CONTRAST = 450.0  # additional intensity in t1ce of a tumour with full enhancement
_HALF_AXES = (60.0, 84.0, 66.0)  # mm: z, y, x of the cerebrum


@dataclass(frozen=True)
class Tumour:
    """A glioma: a necrotic core within an enhancing rim, and edema around it.

    Args:
        centre: (z, y, x) in mm, from the middle of the brain.
        radius: of the tumour core, mm.
        edema: width of the edema around the core, mm.
        enhancement: in [0, 1]: with 0, the core has a thin, dark rim; with 1, it is bright throughout after contrast agent.
    """

    centre: tuple[float, float, float]
    radius: float
    edema: float
    enhancement: float


def render_brain(grid: Grid, tumour: Tumour, rng: np.random.Generator) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Render the brain of a patient whose anatomy and scanner are drawn from ``rng``.

    Args:
        grid: the voxel grid.
        tumour: the tumour.
        rng: random numbers; equal states give equal scans.

    Returns:
        The modalities flair, t1, t1ce and t2, int16 [Z, Y, X], with a random scale for each scan, 0 outside of the brain and
        positive inside; and the labels, uint8 [Z, Y, X]: 0, :data:`NECROSIS`, :data:`EDEMA`, :data:`ENHANCING`.
    """
    box, part = _around_the_brain(grid)
    z, y, x = part.axes()
    size = rng.normal(1, 0.03, 3)
    z, y, x = z / size[0], y / size[1], x / size[2]
    brain, surface, ventricles = _anatomy(part, z, y, x, rng)
    labels = _labels(part, tumour, (brain > 0) & (ventricles < 0), surface, rng)

    white = np.clip((surface - 3) / 1.5 + 0.5, 0, 1) * (_deep_nuclei(z, y, x) < 0)
    fluid = np.clip(0.5 - surface / 1.5, 0, 1)
    fluid = np.maximum(fluid, np.clip(ventricles / 1.5 + 0.5, 0, 1))
    fractions = [fluid, *((labels == label).astype(np.float32) for label in (EDEMA, ENHANCING, NECROSIS))]
    mottled = 1 + 0.05 * smooth_noise(part, 6, rng)

    modalities = {}
    for name, (white_matter, grey_matter, *others) in _INTENSITIES.items():
        values = [np.float32(value) for value in others]
        if name == "t1ce":
            values[2] += np.float32(_CONTRAST * tumour.enhancement)
        image = grey_matter + white * np.float32(white_matter - grey_matter)
        for fraction, value in zip(fractions, values, strict=True):
            mix(image, fraction, value)
        field = 1 + 0.06 * smooth_noise(part, 90, rng)  # inhomogeneity of the coil
        image *= mottled * field
        image += 14 * rng.standard_normal(image.shape, dtype=np.float32)
        image *= np.float32(np.exp(rng.normal(0, 0.3)))  # intensities of MRI have no absolute scale
        whole = np.zeros(grid.shape, np.int16)
        whole[box] = np.where(brain > 0, np.clip(np.rint(image), 1, 32767), 0)
        modalities[name] = whole
    segmentation = np.zeros(grid.shape, np.uint8)
    segmentation[box] = labels
    return modalities, segmentation


def _around_the_brain(grid: Grid) -> tuple[tuple[slice, ...], Grid]:
    """The middle part of a grid that contains every possible brain, so that less than half of the voxels are rendered."""
    slices, sizes = [], []
    for n, step, half in zip(grid.shape, grid.spacing, _HALF_AXES, strict=True):
        margin = max(int(n / 2 - 1.2 * half / step), 0)
        slices.append(slice(margin, n - margin))
        sizes.append(n - 2 * margin)
    return tuple(slices), Grid((sizes[0], sizes[1], sizes[2]), grid.spacing)


def _ellipsoid(z: np.ndarray, y: np.ndarray, x: np.ndarray, half_axes: tuple[float, float, float]) -> np.ndarray:
    """Signed distance, about in mm, positive inside."""
    radius = np.sqrt((z / half_axes[0]) ** 2 + (y / half_axes[1]) ** 2 + (x / half_axes[2]) ** 2)
    return min(half_axes) * (1 - radius)


def _anatomy(
    grid: Grid, z: np.ndarray, y: np.ndarray, x: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Signed distances, about in mm, positive inside: to the hull of the brain, to the folded cortex and to the ventricles."""
    cerebrum = _ellipsoid(z, y, x, _HALF_AXES) + 2 * smooth_noise(grid, 30, rng)
    cerebrum = np.minimum(cerebrum, z + 38 - 0.1 * y)
    cerebellum = _ellipsoid(z + 42, y - 36, x, (22.0, 28.0, 48.0))
    stem = np.minimum(13 - np.hypot(y - 12, x), 30 - np.abs(z + 30))
    brain = np.maximum(np.maximum(cerebrum, cerebellum), stem)

    sulci = 9 * np.abs(smooth_noise(grid, 11, rng)) - 1  # along the zero crossings
    fissure = np.abs(x) - 1.5
    surface = np.minimum(brain, np.where(brain < 14, sulci, 40))
    surface = np.minimum(surface, np.where((brain < 32) & (z > -20), fissure, 40))
    widened = rng.normal(1, 0.12)
    lateral = _ellipsoid(z - 10 - 0.002 * y * y, y - 4, np.abs(x) - 11, (8.0 * widened, 34.0, 6.5 * widened))
    third = np.minimum(2.5 - np.abs(x), np.minimum(10 - np.abs(z), 14 - np.abs(y)))
    return brain, surface, np.maximum(lateral, third)


def _deep_nuclei(z: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Signed distance to thalamus and basal ganglia, grey matter in the middle of the brain."""
    thalamus = _ellipsoid(z, y - 8, np.abs(x) - 13, (9.0, 14.0, 9.0))
    putamen = _ellipsoid(z, y + 12, np.abs(x) - 26, (10.0, 17.0, 6.0))
    return np.maximum(thalamus, putamen)


def _labels(grid: Grid, tumour: Tumour, tissue: np.ndarray, surface: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The segmentation of a tumour with irregular borders; edema spreads in white matter only."""
    axes = [axis - centre for axis, centre in zip(grid.axes(), tumour.centre, strict=True)]
    distance = np.sqrt(axes[0] ** 2 + axes[1] ** 2 + axes[2] ** 2)
    core = distance * (1 + 0.18 * smooth_noise(grid, 14, rng))
    spread = distance * (1 + 0.25 * smooth_noise(grid, 25, rng))
    labels = np.zeros(grid.shape, np.uint8)
    labels[tissue & (spread < tumour.radius + tumour.edema) & (surface > 3)] = EDEMA
    labels[tissue & (core < tumour.radius)] = ENHANCING
    hole = np.sqrt(1 - tumour.enhancement) * tumour.radius - 1.5 * (1 + smooth_noise(grid, 6, rng))
    labels[tissue & (core < hole)] = NECROSIS
    return labels
