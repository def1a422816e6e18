"""Simulated cohorts in which a small ball decides, as a table of scans with a known truth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pandas as pd

from monai_cpic.phantoms.rendering import Grid, mix, smooth_noise
from monai_cpic.phantoms.simulation import Simulation, generator

__all__ = ["NeedleSimulation"]

_SHAPE = (96, 160, 160)  # slices, rows, columns of 1 mm
_GREY, _NOISE = 90.0, 8.0


class NeedleSimulation(Simulation):
    """A cohort of one scan and one number for each patient: ``table.csv`` with ``patient,image,age,score``, and ``scans``.

    The truth: somewhere in the scan is a ball with a radius of 4 to 8 mm, 40 to 100 grey levels brighter than its surroundings.
    The score is a tenth of this contrast, plus 0.5 for each decade of age above 60, plus an error of standard deviation 0.3.
    The ball fills less than a thousandth of the scan, and the anatomy around it is as bright at many places, so that means of
    the whole scan do not tell.

    The arguments are those of :class:`~monai_cpic.phantoms.simulation.Simulation`.
    """

    name = "needle"
    table = "table.csv"

    def tables(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        table: list[dict[str, str | float]] = []
        truth: list[dict[str, str | float]] = []
        for number in range(self.patients):
            rng = generator(self.seed, number, "score")
            patient = f"P{number + 1:03d}"
            age, contrast, radius = round(rng.uniform(40, 80)), rng.uniform(40, 100), rng.uniform(4, 8)
            z, y, x = (rng.uniform(radius - n / 2, n / 2 - radius) for n in _SHAPE)
            score = 0.1 * contrast + 0.05 * (age - 60) + rng.normal(0, 0.3)
            table.append({"patient": patient, "image": f"scans/{patient}.nii", "age": age, "score": round(score, 2)})
            truth.append({"patient": patient, "contrast": contrast, "radius_mm": radius, "z_mm": z, "y_mm": y, "x_mm": x})
        return pd.DataFrame(table), pd.DataFrame(truth)

    def write_patient(self, cohort: Path, number: int, truth: dict[str, Any]) -> None:
        slices, rows, columns = (max(round(n * self.resolution), 8) for n in _SHAPE)
        spacing = 1 / self.resolution
        grid, rng = Grid((slices, rows, columns), (spacing, spacing, spacing)), generator(self.seed, number, "scan")
        image = _GREY + 20 * smooth_noise(grid, 60, rng) + 15 * smooth_noise(grid, 20, rng)
        z, y, x = grid.axes()
        distance = np.sqrt((z - truth["z_mm"]) ** 2 + (y - truth["y_mm"]) ** 2 + (x - truth["x_mm"]) ** 2)
        mix(image, np.clip((truth["radius_mm"] - distance) / spacing + 0.5, 0, 1), image + truth["contrast"])
        image += _NOISE * rng.standard_normal(image.shape, dtype=np.float32)
        voxels = np.clip(np.rint(image), 0, 255).astype(np.uint8).transpose(2, 1, 0)
        (cohort / "scans").mkdir(exist_ok=True)
        affine = np.diag([-spacing, -spacing, spacing, 1.0])
        nibabel.save(nibabel.Nifti1Image(np.ascontiguousarray(voxels), affine), cohort / "scans" / f"{truth['patient']}.nii")
