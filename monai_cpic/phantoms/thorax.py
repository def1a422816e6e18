"""A simulated chest CT: thorax, lungs and, in part of the lungs, fibrosis."""

from __future__ import annotations

import numpy as np
import torch
from monai.networks.layers import GaussianFilter

from monai_cpic.phantoms.rendering import Grid, mix, smooth_noise, standardise

AIR, LUNG, FAT, SOFT, MARROW, CORTEX = -1000.0, -850.0, -100.0, 45.0, 220.0, 650.0  # HU
_TEXTURE = 450.0  # HU between the septa of the fibrotic network and the holes that they enclose
_SEPTA = (9.0, 2.6, 2.6)  # mm: smoothness along z, y, x; gives holes of about 10 mm, longer than a slice is thick


def render_thorax(grid: Grid, extent: float, rng: np.random.Generator) -> np.ndarray:
    """Render a chest CT of a patient whose build is drawn from ``rng``.

    Fibrosis is a network of dense septa around air-filled holes in the outer and lower part of the lungs.  It is added with zero
    mean, so that it changes the texture of the lungs but not their mean density.

    Args:
        grid: the voxel grid.
        extent: fraction of the lungs that is fibrotic, in [0, 1].
        rng: random numbers; equal states give equal scans.

    Returns:
        Hounsfield units, int16, [Z, Y, X].
    """
    z, y, x = grid.axes()
    width, depth = rng.normal(132, 7), rng.normal(92, 6)  # inner half-axes of the rib cage, mm
    fat, heart = rng.uniform(8, 26), rng.normal(1.0, 0.07)
    z, y, x = z - rng.normal(0, 6), y - rng.normal(0, 6), x - rng.normal(0, 6)

    # Signed distances, about in mm, positive inside.
    taper = np.sqrt(1 - np.clip((z + 20) / 138, 0, 1) ** 2.4)
    cage = depth * (taper - _superellipse(x / width, y / depth))
    cylinder = depth * (1 - _superellipse(x / width, y / depth))
    body = (depth + 26 + fat) * (1 - _superellipse(x / (width + 30 + fat), y / (depth + 26 + fat)))
    spine = np.hypot(x / 1.2, y - 0.78 * depth)
    lungs, diaphragm = _lungs(z, y, x, cage, spine, heart)
    lung = np.clip(lungs / 1.6 + 0.5, 0, 1)

    hu = np.full(grid.shape, AIR, np.float32)
    muscle = cylinder + 18 + 8 * smooth_noise(grid, 40, rng)
    soft = SOFT + 10 * smooth_noise(grid, 12, rng)
    mix(hu, np.clip(body / 2 + 0.5, 0, 1), FAT + 0.15 * (soft - SOFT))
    mix(hu, np.clip(muscle / 2 + 0.5, 0, 1) * (body > 4), soft)
    _bones(hu, z, y, x, cage, spine, depth)
    vessels = _vessels(grid, rng) * (spine > 20)
    parenchyma = LUNG + rng.normal(0, 20) + 0.25 * y + 18 * smooth_noise(grid, 30, rng)
    weight = lung * (1 - vessels)
    parenchyma = parenchyma + _fibrosis(grid, extent, weight, cage, diaphragm, z, rng)
    mix(hu, lung, parenchyma * (1 - vessels) + SOFT * vessels)
    mix(hu, _airways(grid), np.float32(AIR))
    mix(hu, _couch(y, x, depth + 26 + fat), np.float32(-150))

    noise = torch.from_numpy(rng.standard_normal(grid.shape, dtype=np.float32))
    hu += rng.uniform(8, 20) * standardise(GaussianFilter(2, sigma=0.6)(noise[:, None])[:, 0]).numpy()
    return np.clip(np.rint(hu), -1024, 3071).astype(np.int16)


def _superellipse(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return (np.abs(u) ** 2.3 + np.abs(v) ** 2.3) ** (1 / 2.3)


def _lungs(
    z: np.ndarray, y: np.ndarray, x: np.ndarray, cage: np.ndarray, spine: np.ndarray, heart: float
) -> tuple[np.ndarray, np.ndarray]:
    """Signed distances to the boundary of the lungs and to the diaphragm."""
    height = np.where(x < 0, 62, 48)  # the liver lifts the right dome
    dome = -112 + height * (1 - ((np.abs(x) - 62) / 85) ** 2 - ((y + 12) / 85) ** 2) - 0.25 * np.maximum(y, 0)
    diaphragm = 0.8 * (z - dome)
    mediastinum = np.abs(x - 4) - (14 + 14 * np.exp(-(((z - 5) / 40) ** 2)) + 14 * ((y - 5) / 75) ** 2)
    ventricles = 48 * (np.sqrt(((x - 24) / 60) ** 2 + ((y + 26) / 50) ** 2 + ((z + 48) / 62) ** 2) - heart)
    aorta = np.hypot(x - 24, y - 48) - 13
    distances = (cage, diaphragm, mediastinum, ventricles, aorta, spine - 22)
    lungs = distances[0]
    for distance in distances[1:]:
        lungs = np.minimum(lungs, distance)
    return lungs, diaphragm


def _bones(
    hu: np.ndarray, z: np.ndarray, y: np.ndarray, x: np.ndarray, cage: np.ndarray, spine: np.ndarray, depth: float
) -> None:
    """Add ribs, sternum and vertebrae: cortical shells around marrow."""
    # A rib descends towards the front, so that an axial slice cuts each of them in short, slanting pieces.
    phase = ((z - 0.75 * (y + 0.002 * x * x)) / 27) % 1 - 0.5
    between = np.minimum(0.8 * depth - np.abs(y), 27 * (0.22 - np.abs(phase)))  # spine and sternum
    ribs = np.minimum(4 - np.abs(cage + 5), between)
    sternum = np.minimum(np.minimum(5 - np.abs(y + depth + 4), 18 - np.abs(x)), z + 60)
    disc = np.abs((z / 24) % 1 - 0.5) > 0.42
    vertebra = np.where(disc, -1, 19 - spine)
    arch = 5 - np.abs(np.hypot(x, y - 0.78 * depth - 27) - 13)
    process = np.minimum(4 - np.abs(x), 9 - np.abs(y - 0.78 * depth - 41))
    for bone in (ribs, sternum, vertebra, arch, process):
        mix(hu, np.clip(bone / 1.5 + 0.5, 0, 1), np.where(bone < 2.5, CORTEX, MARROW).astype(np.float32))
    canal = 9 - np.hypot(x, y - 0.78 * depth - 27)
    mix(hu, np.clip(canal / 1.5 + 0.5, 0, 1), 25.0)


def _couch(y: np.ndarray, x: np.ndarray, back: float) -> np.ndarray:
    """The couch under the patient, a curved shell."""
    return np.clip(2.5 - np.abs(y - back - 6 + 0.0012 * x * x), 0, 1) * (np.abs(x) < 200)


def _fibrosis(
    grid: Grid,
    extent: float,
    weight: np.ndarray,
    cage: np.ndarray,
    diaphragm: np.ndarray,
    z: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """HU to add: a network of zero mean in the fraction ``extent`` of the lung voxels, the outer and lower ones first."""
    rank = np.minimum(cage, diaphragm) / 30 + z / 180 + 0.3 * smooth_noise(grid, 30, rng)
    noise = torch.from_numpy(rng.standard_normal(grid.shape, dtype=np.float32))
    sigma = [length / step for length, step in zip(_SEPTA, grid.spacing, strict=True)]
    waves = standardise(GaussianFilter(3, sigma=sigma)(noise[None, None])[0, 0]).numpy()
    septa = np.exp(-((waves / 0.35) ** 2))  # thin ridges along the zero crossings
    limit = np.quantile(rank[weight > 0.5], extent) if extent > 0 else -np.inf
    affected = (rank <= limit).astype(np.float32)
    total = float((weight * affected).sum())
    mean = float((weight * affected * septa).sum()) / total if total else 0.0
    return _TEXTURE * affected * (septa - mean)


def _vessels(grid: Grid, rng: np.random.Generator) -> np.ndarray:
    """Fraction of each voxel filled by vessels, which branch from the hila."""
    start = np.repeat([[0.0, 8.0, -38.0], [0.0, 8.0, 38.0]], 20, axis=0)  # (z, y, x) of the hila
    heading = rng.standard_normal(start.shape) * [1.2, 0.9, 0.6] + np.sign(start[:, 2:]) * [0, 0, 0.9]
    radius, length = rng.uniform(1.5, 3.8, len(start)), rng.uniform(18, 34, len(start))
    points, radii = [], []
    for _ in range(6):
        heading /= np.linalg.norm(heading, axis=1, keepdims=True)
        steps = np.arange(0, 1, 0.04)
        points.append((start[:, None] + steps[:, None] * (heading * length[:, None])[:, None]).reshape(-1, 3))
        radii.append(np.repeat(radius, len(steps)))
        start = np.repeat(start + heading * length[:, None], 2, axis=0)
        heading = np.repeat(heading, 2, axis=0) + 0.45 * rng.standard_normal(start.shape)
        radius, length = 0.74 * np.repeat(radius, 2), 0.85 * np.repeat(length, 2)
    return _tubes(grid, np.concatenate(points), np.concatenate(radii))


def _airways(grid: Grid) -> np.ndarray:
    """Fraction of each voxel filled by the air of trachea and main bronchi."""
    steps = np.linspace(0, 1, 60)[:, None]
    trachea = np.array([[140.0, 0.0, 0.0]]) + steps * [[-115.0, 8.0, 0.0]]
    bronchi = [np.array([[25.0, 8.0, 0.0]]) + steps * [[-28.0, 4.0, side * 40.0]] for side in (-1, 1)]
    return _tubes(grid, np.concatenate([trachea, *bronchi]), np.repeat([8.5, 5.5, 5.5], 60))


def _tubes(grid: Grid, points: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Fraction of each voxel filled by discs of the given radii (mm) about points [N, (z, y, x)]."""
    step = np.array(grid.spacing)
    index = (points - grid.origin) / step
    centre = np.rint(index).astype(int)
    thickness = np.minimum(1, 2 * radii / step[0]) ** 0.5  # a thin vessel fills part of a thick slice
    reach = int(np.ceil(radii.max() / step[1])) + 1
    filled = np.zeros(grid.shape, np.float32)
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            voxel = centre + np.array([0, dy, dx])
            distance = np.hypot(*((voxel - index)[:, 1:] * step[1:]).T)
            fraction = thickness * np.clip((radii - distance) / step[1] + 0.5, 0, 1)
            inside = ((voxel >= 0) & (voxel < grid.shape)).all(axis=1) & (fraction > 0)
            np.maximum.at(filled, tuple(voxel[inside].T), fraction[inside].astype(np.float32))
    return filled
