"""Small cohorts in the layout of the real ones, simulated: scans with a bright ball, whose radius all targets follow from."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pandas as pd

from monai_cpic.experiments.real.cohorts import COHORTS

__all__ = ["write_cohorts"]

SHAPE = (18, 20, 19)


def write_cohorts(folder: Path, patients: int) -> Path:
    """Write all cohorts, each with one patient more, whose targets are not known."""
    random = np.random.default_rng(0)
    for cohort in COHORTS:
        (folder / cohort.folder / "images").mkdir(parents=True)
        names = [f"P{number:02}" for number in range(patients + 1)]
        radii = random.uniform(3, 8, patients + 1)
        for name, radius in zip(names, radii, strict=True):
            ball = np.linalg.norm(np.indices(SHAPE) - 9.0, axis=0) < radius
            for number, path in enumerate(cohort.images.values()):
                voxels = (ball * (number + 1.0) if cohort.name == "stroke" else 1 + ball + random.normal(0, 0.2, SHAPE)) * 100
                image = nibabel.Nifti1Image(voxels.astype(np.int16), np.eye(4))
                nibabel.save(image, folder / cohort.folder / path.format(name))
        table = pd.DataFrame({cohort.patient: names} | {target: radii.round(2).astype(str) for target in cohort.targets})
        table.iloc[0, 1:] = "n/a"
        table.to_csv(folder / cohort.folder / cohort.table, index=False)
    return folder
