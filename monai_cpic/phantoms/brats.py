"""Simulated cohorts in the layout of the BraTS 2020 training set, with a known truth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pandas as pd

from monai_cpic.cohorts.brats.survival_table import COLUMNS
from monai_cpic.phantoms.brain import Tumour, render_brain
from monai_cpic.phantoms.rendering import Grid
from monai_cpic.phantoms.simulation import Simulation, generator

__all__ = ["BraTSSimulation", "simulate_survival"]

_SHAPE = (155, 240, 240)  # slices, rows and columns of 1 mm
_ALWAYS_ALIVE = 2  # number of a patient who is alive, so that even a small cohort has a censored survival
_PACKED, _MISNAMED = 0, 1  # numbers of the patients with .nii.gz files and with a wrongly named segmentation
_MISNAMED_SEG = "W39_1998.09.19_Segm.nii"


class BraTSSimulation(Simulation):
    """A simulated cohort in the layout of the BraTS 2020 training set.

    It consists of ``survival_info.csv`` and, for each patient, a folder with four modalities and a segmentation of 240×240×155
    voxels of 1 mm.  At full resolution a patient takes 80 MB.

    The truth: large, deep and strongly enhancing tumours and age shorten the survival, see :func:`simulate_survival`.  The scans
    show the tumours (:func:`~monai_cpic.phantoms.brain.render_brain`); the table contains age and extent of resection only.  The
    cohort has the peculiarities of the real set: patients who are alive, ``NA`` resections, files in ``.nii.gz`` (the first
    patient) and a segmentation with a wrong name (the second).

    The arguments are those of :class:`~monai_cpic.phantoms.simulation.Simulation`.
    """

    name = "brats"
    table = "survival_info.csv"

    def tables(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        return simulate_survival(self.patients, self.seed)

    def write_patient(self, cohort: Path, number: int, truth: dict[str, Any]) -> None:
        centre = (truth["centre_z_mm"], truth["centre_y_mm"], truth["centre_x_mm"])
        tumour = Tumour(centre, truth["radius_mm"], truth["edema_mm"], truth["enhancement"])
        _simulate_scan(cohort / truth["Brats20ID"], number, tumour, self.seed, self.resolution)


def simulate_survival(patients: int, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Simulate the tables of a cohort.

    The logarithm of the survival in days is ``5.9 - 0.4 size - 0.25 deep - 0.35 bright - 0.3 old`` with noise of standard
    deviation 0.35.  The four variables are the radius of the tumour, its depth, its enhancement and the patient's age,
    standardised.

    Args:
        patients: number of patients.
        seed: seed of the cohort.

    Returns:
        The table with the columns of ``survival_info.csv``, and the truth, one row per patient: ``Brats20ID``, ``Survival_days``
        (also of living patients), ``expected_days`` (without noise), ``radius_mm``, ``depth`` (0 at the cortex, 1 in the middle),
        ``enhancement``, ``edema_mm`` and the tumour's centre in mm from the middle of the brain.
    """
    table: list[dict[str, str | float]] = []
    truth: list[dict[str, str | float]] = []
    for number in range(patients):
        rng = generator(seed, number, "survival")
        patient = f"BraTS20_Training_{number + 1:03d}"
        age = float(np.clip(rng.normal(61.4, 12), 19, 87))
        radius, depth, enhancement = rng.uniform(9, 27), rng.uniform(0, 1), rng.uniform(0.1, 0.95)
        size, deep = (radius - 18) / (18 / 12**0.5), (depth - 0.5) * 12**0.5
        bright, old = (enhancement - 0.525) / (0.85 / 12**0.5), (age - 61.4) / 12
        log_days = 5.9 - 0.4 * size - 0.25 * deep - 0.35 * bright - 0.3 * old
        days = int(np.clip(np.rint(np.exp(log_days + rng.normal(0, 0.35))), 5, 2500))
        resection = rng.choice(["GTR", "STR", "NA"], p=[0.51, 0.04, 0.45])
        alive = rng.random() < 0.04 or number == _ALWAYS_ALIVE
        last_seen = max(int(days * rng.uniform(0.5, 0.9)), 1)
        centre = _centre(depth, rng)
        table.append(
            dict(
                zip(
                    COLUMNS,
                    (patient, round(age, 3), f"ALIVE ({last_seen} days later)" if alive else str(days), str(resection)),
                    strict=True,
                )
            )
        )
        truth.append(
            {
                "Brats20ID": patient,
                "Survival_days": days,
                "expected_days": round(float(np.exp(log_days)), 1),
                "radius_mm": round(radius, 3),
                "depth": round(depth, 4),
                "enhancement": round(enhancement, 4),
                "edema_mm": round(rng.uniform(4, 22), 3),
                **{f"centre_{axis}_mm": round(value, 2) for axis, value in zip("zyx", centre, strict=True)},
            }
        )
    return pd.DataFrame(table), pd.DataFrame(truth)


def _centre(depth: float, rng: np.random.Generator) -> tuple[float, float, float]:
    """A random position (z, y, x) in mm in one of the hemispheres, above the tentorium."""
    direction = rng.standard_normal(3)
    direction[0] = 0.7 * abs(direction[0]) - 0.2
    direction[2] += 0.6 * np.sign(direction[2])
    z, y, x = direction / np.linalg.norm(direction) * (0.72 - 0.5 * depth) * np.array([58.0, 80.0, 62.0])
    return float(z), float(y), float(x)


def _simulate_scan(case: Path, number: int, tumour: Tumour, seed: int, resolution: float) -> None:
    slices, rows, columns = (max(round(n * resolution), 8) for n in _SHAPE)
    spacing = 1 / resolution
    grid = Grid((slices, rows, columns), (spacing, spacing, spacing))
    modalities, labels = render_brain(grid, tumour, generator(seed, number, "scan"))
    affine = np.diag([-spacing, -spacing, spacing, 1.0])
    affine[1, 3] = spacing * (rows - 1)
    case.mkdir()
    ending = ".nii.gz" if number == _PACKED else ".nii"
    files = {f"{case.name}_{name}{ending}": image for name, image in modalities.items()}
    files[_MISNAMED_SEG if number == _MISNAMED else f"{case.name}_seg{ending}"] = labels
    for name, image in files.items():
        nibabel.save(nibabel.Nifti1Image(np.ascontiguousarray(image.transpose(2, 1, 0)), affine), case / name)
