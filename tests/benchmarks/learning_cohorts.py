"""The cohorts on which networks are compared: scans that are read lazily, targets, and the same scans small and dense.

Simulated scans are written to the cache folder once (MONAI_CPIC_CACHE, else ~/.cache/monai_cpic); real ones are those of
MONAI_CPIC_DATA, else ../shared/data.

    python tests/benchmarks/learning_cohorts.py [COHORT ...]

writes what is missing and says what there is.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import monai.transforms as mt
import nibabel as nib
import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from monai_cpic.cohorts import OSICCohort
from monai_cpic.data import LazyVolume, open_volume
from monai_cpic.data.channels import join_channels
from monai_cpic.data.pyramid.averaging import average
from monai_cpic.data.pyramid.geometry import level_shape
from monai_cpic.phantoms import OSICSimulation
from monai_cpic.phantoms.osic import simulate_visits
from monai_cpic.phantoms.rendering import Grid, smooth_noise
from monai_cpic.phantoms.simulation import generator
from monai_cpic.phantoms.thorax import render_thorax
from monai_cpic.staging import write_whole
from monai_cpic.transforms import FreezeLazyVolumed, LoadLazyVolumed

__all__ = ["COHORTS", "Cohort"]

CACHE = Path(os.environ.get("MONAI_CPIC_CACHE", Path.home() / ".cache" / "monai_cpic")) / "bench_learning"
DATA = Path(os.environ.get("MONAI_CPIC_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
WINDOW = mt.ScaleIntensityRange(-1000.0, -440.0, 0.0, 1.0, clip=True)  # HU: lungs and what is in them
GREY = mt.ScaleIntensityRange(0.0, 255.0, 0.0, 1.0)
ORGANS = ["SpinalCord", "Larynx", "LeftParotid", "RightParotid", "Mandible"]
SLICES = 32
NEAR_AND_FAR = (1, 4, 16)
PERCENTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)
BALL_RADII, BALL_CONTRASTS, BALL_NOISE = (6.0, 10.0), (40.0, 80.0), 8.0  # voxels; grey levels, as is the noise


class _CTAndDose:
    """CT numbers of 0 to 2 000 and prescribed doses of 0 to 70 Gy, to 0 to 1."""

    def __call__(self, patches: Tensor) -> Tensor:
        return torch.stack([(patches[:, 0] / 2000).clamp(0, 1), patches[:, 1] / 70], 1)


CT_AND_DOSE = _CTAndDose()


@dataclass(frozen=True, eq=False)
class Cohort:
    """Scans of one grid, what is to be predicted from them, and how networks see them.

    Attributes:
        scans: ``N`` volumes of ``C`` channels, in intensities that networks take; they are read from disk unless they are small.
        targets: float32 ``[N, K]``, in units of the target; NaN where it is not known.
        names: of the ``K`` targets.
        reduced: the scans averaged over blocks, float32 ``[N, C, *reduced]``, for networks that need whole scans.
        simple: what can be measured without learning, float32 ``[N, F]``: the features of the simplest rival.
        grid: a network's; scans that are smaller are padded to it by their border, half on each side.
        flips: whether a flipped scan is as good a scan.
        jitter: voxels by which a scan in training is moved along each axis, at most, in either direction.
        cells: of random cells.
        steps: distances between the voxels of a patch that an encoder sees.
        position: whether it matters where in the grid something is.
        padded: whether scans smaller than the grid are put into its middle, with their border around them; otherwise the networks
            see their extents.
    """

    scans: Sequence[LazyVolume]
    targets: Tensor
    names: Sequence[str]
    reduced: Tensor
    simple: Tensor
    grid: tuple[int, ...]
    flips: bool = True
    jitter: int = 0
    cells: int = 1024
    steps: tuple[int, ...] = (1,)
    position: bool = False
    padded: bool = True


def extent(smoke: bool) -> Cohort:
    """Simulated chest CTs at half resolution, resized to 64×64×16, and the extent of fibrosis (200 patients).

    They are not reduced further.
    """
    (patients, resolution), shape = ((10, 0.25) if smoke else (200, 0.5)), (64, 64, 16)
    file = CACHE / f"osic_{patients}_{resolution}.pt"
    if not file.exists():
        folder = OSICSimulation(patients, 0, resolution).ensure(CACHE / f"osic_{patients}_{resolution}")
        truth = pd.read_csv(folder / "truth.csv").set_index("Patient")["extent"]
        prepare = mt.Compose([LoadLazyVolumed("image"), mt.Resized("image", shape), FreezeLazyVolumed("image")], lazy=True)
        items = tqdm(OSICCohort().read(folder), desc="reading")
        pairs = [(WINDOW(_whole(prepare(dict(item))["image"])), truth[item["patient"]]) for item in items]
        with write_whole(file) as unfinished:
            torch.save((torch.stack([torch.as_tensor(x) for x, _ in pairs]), torch.tensor([y for _, y in pairs])), unfinished)
    scans, truths = torch.load(file, weights_only=True)
    volumes = [open_volume(scan) for scan in scans]
    return Cohort(volumes, truths.float()[:, None], ["extent"], scans, _intensities(scans), shape)


def extent_native(edge: int, smoke: bool) -> Cohort:
    """The patients of :func:`extent` with scans of ``edge`` × ``edge`` × 32 voxels, int16, never resized.

    Field of view and height vary as those of :class:`~monai_cpic.phantoms.OSICSimulation`, whose extents of fibrosis these are.
    Reduced: the windowed scan in blocks to 64×64×16.
    """
    patients, edge, folder = (10, 64, CACHE / "extent_smoke") if smoke else (200, edge, CACHE / f"extent_{edge}")
    _, truth = simulate_visits(patients, 0)
    write = partial(_write_thorax, folder, edge, truth["extent"].tolist())
    paths = _written(folder, write, patients, processes=2 if edge > 256 else 1)
    volumes = [open_volume(path).scaled(WINDOW) for path in paths]
    reduced = _reduced(volumes, (edge // 64, edge // 64, 2), folder / "reduced.pt")
    targets = torch.tensor(truth["extent"].to_numpy(), dtype=torch.float32)[:, None]
    shape = (edge, edge, SLICES)
    return Cohort(volumes, targets, ["extent"], reduced, _intensities(reduced), shape, steps=NEAR_AND_FAR)


def ball(smoke: bool) -> Cohort:
    """A small target: one ball in 256×256×128 voxels of smooth anatomy and noise, uint8 (300 scans).

    The targets are the contrast of the ball, 40 to 80 grey levels above its surroundings, and its radius, 6 to 10 voxels; both
    are uniform and independent, as is its place.  The anatomy has a standard deviation of about 17 grey levels, over lengths of
    25 and 60 voxels, and differs from scan to scan; the noise has 8.  A ball fills at most 0.05 % of the scan, so that means of
    the whole do not tell, and places that are as bright without a ball are common.  Reduced: blocks of 4³, 64×64×32.
    """
    patients, shape = (10, (64, 64, 32)) if smoke else (300, (256, 256, 128))
    folder = CACHE / ("ball_smoke" if smoke else "ball")
    paths = _written(folder, partial(_write_ball, folder, shape), patients)
    targets = torch.tensor([_ball(number, shape)[1:] for number in range(patients)])
    volumes = [open_volume(path).scaled(GREY) for path in paths]
    reduced = _reduced(volumes, (4, 4, 4), folder / "reduced.pt")
    return Cohort(volumes, targets, ["contrast", "radius"], reduced, _intensities(reduced), shape, steps=NEAR_AND_FAR)


def hippocampus(smoke: bool) -> Cohort:
    """260 real MRI crops of up to 48×64×48 voxels, of zero mean and unit variance, and the volume of the hippocampus in mm³.

    Networks see the crops themselves in the grid; they are not reduced further, but padded for whom it must be (reduced).  The
    size of the crop alone tells much of the volume; it is among the simple features.
    """
    folder = DATA / "cohort_hippocampus_msd"
    table = pd.read_csv(folder / "targets.csv").head(10 if smoke else 260)
    shape = (48, 64, 48)
    pad = mt.SpatialPad(shape, mode="edge")
    raw = [
        np.asarray(nib.Nifti1Image.from_filename(folder / "images" / f"{name}.nii.gz").dataobj, dtype=np.float32)
        for name in table["id"]
    ]
    crops = [torch.as_tensor((crop - crop.mean()) / crop.std())[None] for crop in raw]
    scans = torch.stack([torch.as_tensor(pad(crop)) for crop in crops])
    simple = torch.cat([torch.tensor([crop.shape for crop in raw]).log(), _intensities(scans)], 1)
    volume = torch.tensor(table["volume_mm3"].to_numpy(), dtype=torch.float32)[:, None]
    return Cohort([open_volume(crop) for crop in crops], volume, ["volume"], scans, simple, shape, padded=False)


def doses(smoke: bool) -> Cohort:
    """120 real CTs before radiotherapy with the target volumes as a second channel, 128³; the mean doses of five organs in Gy.

    Sides differ, and nothing is resampled.  Reduced: blocks of 8³, 16³ of each channel.  The simple features are the mean of the
    CT and of the prescribed dose.  An organ that was not outlined has no dose (NaN).
    """
    folder = DATA / "cohort_headneck_openkbp"
    table = pd.read_csv(folder / "targets.csv").head(20 if smoke else 120)
    volumes = [
        join_channels([open_volume(folder / "images" / f"{name}_{part}.nii.gz") for part in ("ct", "ptv")]).scaled(CT_AND_DOSE)
        for name in tqdm(table["id"], desc="CTs", disable=None)
    ]
    reduced = _reduced(volumes, (8, 8, 8), CACHE / f"doses_{len(table)}.pt")
    targets = torch.tensor(table[[f"mean_{organ}" for organ in ORGANS]].to_numpy(), dtype=torch.float32)
    simple, grid = reduced.flatten(2).mean(2), (128, 128, 128)
    return Cohort(volumes, targets, ORGANS, reduced, simple, grid, False, jitter=4, steps=NEAR_AND_FAR, position=True)


def stroke(smoke: bool) -> Cohort:
    """944 real maps of stroke lesions, 157×189×136 voxels of 1 mm, and the NIHSS at admission.

    Sides differ, so nothing is flipped.  Reduced: blocks of 8³, 20×24×17.  The simple feature is the logarithm of the volume.
    """
    folder = DATA / "cohort_stroke_soop"
    table = pd.read_csv(folder / "participants.csv").dropna(subset="nihss")
    paths = [folder / "images" / f"{name}_lesion.nii.gz" for name in table["participant_id"]]
    known = [path.exists() for path in paths]
    table, paths = table[known], [path for path in paths if path.exists()]
    if smoke:
        table, paths = table.head(10), paths[:10]
    volumes = [open_volume(path) for path in tqdm(paths, desc="lesions", disable=None)]
    reduced = _reduced(volumes, (8, 8, 8), CACHE / f"stroke_{len(paths)}.pt")
    nihss = torch.tensor(table["nihss"].to_numpy(), dtype=torch.float32)[:, None]
    simple = reduced.flatten(1).double().mean(1, keepdim=True).clamp(min=1e-9).log().float()
    return Cohort(
        volumes,
        nihss,
        ["NIHSS"],
        reduced,
        simple,
        (160, 192, 144),
        flips=False,
        jitter=4,
        steps=NEAR_AND_FAR,
        position=True,
    )


COHORTS: dict[str, Callable[[bool], Cohort]] = {
    "extent": extent,
    "extent_256": partial(extent_native, 256),
    "extent_512": partial(extent_native, 512),
    "ball": ball,
    "hippocampus": hippocampus,
    "stroke": stroke,
    "doses": doses,
}


# ---- what they share -------------------------------------------------------------------------------------------------------


def _whole(volume: LazyVolume) -> Tensor:
    """All voxels, ``[C, *spatial]``."""
    return volume.gather(torch.tensor([[size // 2 for size in volume.shape[1:]]]), volume.shape[1:])[0]


def _reduced(volumes: Sequence[LazyVolume], blocks: tuple[int, ...], file: Path) -> Tensor:
    """Means over blocks, ``[N, C, *reduced]``, kept in a file."""
    if not file.exists():
        channels, *shape = volumes[0].shape
        # Filled in place: small results that are kept between large ones that are not would fragment the memory.
        result = torch.empty(len(volumes), channels, *level_shape(shape, blocks))
        for row, volume in zip(result, tqdm(volumes, desc=f"reducing to {file.name}", disable=None), strict=True):
            row.copy_(average(_whole(volume), blocks))
        with write_whole(file) as unfinished:
            torch.save(result, unfinished)
    return torch.load(file, weights_only=True)


def _intensities(scans: Tensor) -> Tensor:
    """Mean, standard deviation and percentiles of each scan, ``[N, 10]``."""
    rows = [torch.stack([scan.mean(), scan.std(), *_quantiles(scan.flatten())]) for scan in scans]
    return torch.stack(rows)


def _quantiles(values: Tensor) -> Iterable[Tensor]:
    order = values.sort().values
    return (order[round(share * (len(order) - 1))] for share in PERCENTILES)


def _written(folder: Path, write: Callable[[int], Path], scans: int, processes: int = 1) -> list[Path]:
    """The paths of simulated scans; those that are missing are written, each completely or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    with multiprocessing.Pool(processes, torch.set_num_threads, (1,)) as pool:
        return list(tqdm(pool.imap(write, range(scans)), desc=f"simulating {folder.name}", total=scans, disable=None))


def _write_nifti(path: Path, values: np.ndarray, spacing: Sequence[float]) -> Path:
    """Write ``[Z, Y, X]`` as ``[X, Y, Z]``, uncompressed."""
    with write_whole(path) as unfinished:
        nib.Nifti1Image(values.T, np.diag([*spacing[::-1], 1.0])).to_filename(unfinished)
    return path


def _write_thorax(folder: Path, edge: int, extents: Sequence[float], number: int) -> Path:
    path = folder / f"{number:03d}.nii"
    if path.exists():
        return path
    rng = generator(0, number, "scan")
    field_of_view, height = rng.uniform(365, 395), rng.uniform(255, 285)  # mm
    grid = Grid((SLICES, edge, edge), (height / SLICES, field_of_view / edge, field_of_view / edge))
    return _write_nifti(path, render_thorax(grid, extents[number], rng), grid.spacing)


def _ball(number: int, shape: tuple[int, ...]) -> tuple[np.ndarray, float, float]:
    """Centre (x, y, z), contrast and radius."""
    rng = generator(0, number, "ball")
    contrast, radius = rng.uniform(*BALL_CONTRASTS), rng.uniform(*BALL_RADII)
    return rng.uniform(radius, np.array(shape) - 1 - radius), contrast, radius


def _write_ball(folder: Path, shape: tuple[int, int, int], number: int) -> Path:
    path = folder / f"{number:03d}.nii"
    if path.exists():
        return path
    rng = generator(0, number, "anatomy")
    centre, contrast, radius = _ball(number, shape)
    grid = Grid(shape[::-1], (1.0, 1.0, 1.0))
    values = 90 + rng.uniform(-8, 8) + 25 * smooth_noise(grid, 60, rng) + 18 * smooth_noise(grid, 25, rng)
    z, y, x = (np.arange(n) - middle for n, middle in zip(grid.shape, centre[::-1], strict=True))
    distance = np.sqrt(z[:, None, None] ** 2 + y[:, None] ** 2 + x**2)
    values += contrast * np.clip(radius - distance + 0.5, 0, 1)  # the part of a voxel that is inside
    values += BALL_NOISE * rng.standard_normal(grid.shape, dtype=np.float32)
    return _write_nifti(path, np.clip(np.rint(values), 0, 255).astype(np.uint8), grid.spacing)


def main() -> None:
    """Write what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cohorts", nargs="*", default=list(COHORTS))
    torch.set_num_threads(1)
    for name in parser.parse_args().cohorts:
        cohort = COHORTS[name](False)
        mean, deviation = cohort.targets.mean(0).tolist(), cohort.targets.std(0).tolist()
        targets = [f"{n} {m:.3g} ± {d:.3g}" for n, m, d in zip(cohort.names, mean, deviation, strict=True)]
        shape, reduced = tuple(cohort.scans[0].shape[1:]), tuple(cohort.reduced.shape[2:])
        print(f"{name}: {len(cohort.scans)} scans {shape}, reduced {reduced}; {', '.join(targets)}")


if __name__ == "__main__":
    main()
