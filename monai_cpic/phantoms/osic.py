"""Simulated cohorts in the layout of the OSIC download, with a known truth."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from monai_cpic.cohorts.osic.visits_table import COLUMNS
from monai_cpic.phantoms.dicom_writer import write_ct_series
from monai_cpic.phantoms.rendering import Grid
from monai_cpic.phantoms.simulation import Simulation, generator
from monai_cpic.phantoms.thorax import render_thorax

__all__ = ["OSICSimulation", "simulate_visits"]

_TEST_PATIENTS = 5


class OSICSimulation(Simulation):
    """A simulated cohort in the layout of the OSIC download.

    It consists of ``train.csv``, ``train/<Patient>/<n>.dcm``, ``test.csv`` and ``test/``.  As in the challenge, the last two
    repeat the baseline visit and the scan of the first patients (at most 5).

    The truth: a fraction ``extent`` of the lungs is fibrotic.  It lowers the FVC by up to 35 % and makes it decline by
    1 + 12 ``extent`` ml a week.  The covariates do not reveal it, because of body build, effort and the error of the spirometer
    (60–80 ml).  Since fibrosis does not change the mean density (:func:`~monai_cpic.phantoms.thorax.render_thorax`), it is
    visible only in the texture of the lungs.  The scans have the peculiarities of the real ones: unpadded file names numbered
    from either end, varying matrix, spacing, number of slices and RescaleIntercept, -2000 HU outside the round field of view, a
    compressed series (the first patient) and one without ImagePositionPatient (the second).

    The arguments are those of :class:`~monai_cpic.phantoms.simulation.Simulation`.
    """

    name = "osic"
    table = "train.csv"

    def tables(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        return simulate_visits(self.patients, self.seed)

    def write_patient(self, cohort: Path, number: int, truth: dict[str, Any]) -> None:
        folder = cohort / "train" / truth["Patient"]
        folder.mkdir(parents=True)
        _simulate_scan(folder, number, truth["extent"], self.seed, self.resolution)

    def fill(self, cohort: Path, progress: bool) -> None:
        super().fill(cohort, progress)
        visits, _ = self.tables()
        test = visits.groupby("Patient", sort=False).head(1)[:_TEST_PATIENTS]
        test.to_csv(cohort / "test.csv", index=False)
        for patient in test["Patient"]:
            shutil.copytree(cohort / "train" / patient, cohort / "test" / patient)


def simulate_visits(patients: int, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Simulate the tables of a cohort.

    Args:
        patients: number of patients.
        seed: seed of the cohort.

    Returns:
        The visits, with the columns of ``train.csv``, and the truth, one row per patient: ``Patient``, ``extent`` (of
        fibrosis, 0–1), ``slope`` (of FVC, ml/week), ``baseline_fvc`` (without measurement error, ml) and ``height_cm``.
    """
    visits: list[pd.DataFrame] = []
    truth: list[dict[str, str | float]] = []
    for number in range(patients):
        rng = generator(seed, number, "visits")
        patient = f"ID{7 + 3 * number:05d}637{rng.integers(10**15):015d}"
        male = rng.random() < 0.79
        age = int(np.clip(np.rint(rng.normal(67, 7)), 49, 88))
        smoking = rng.choice(["Ex-smoker", "Never smoked", "Currently smokes"], p=[0.67, 0.28, 0.05])
        height = rng.normal(174, 7) if male else rng.normal(161, 6.5)
        # Reference equations: P. H. Quanjer et al., European Respiratory Journal 6 (Suppl. 16), 1993.
        normal = 57.6 * height - 26 * age - 4340 if male else 44.3 * height - 26 * age - 2890
        extent = rng.beta(1.1, 1.4)
        slope = -(1 + 12 * extent) + rng.normal(0, 0.8)
        fvc_at_scan = 0.93 * normal * (1 - 0.35 * extent) * np.exp(rng.normal(0, 0.17))
        n_visits = rng.integers(7, 11)
        weeks = rng.integers(-5, 13) + np.concatenate([[0], np.cumsum(rng.integers(3, 15, n_visits - 1))])
        expected = fvc_at_scan + slope * weeks
        measured = np.rint(np.maximum(expected + rng.normal(0, rng.uniform(60, 80), n_visits), 500)).astype(int)
        visits.append(
            pd.DataFrame(
                {
                    "Patient": patient,
                    "Weeks": weeks,
                    "FVC": measured,
                    "Percent": (100 * measured / normal).round(4),
                    "Age": age,
                    "Sex": "Male" if male else "Female",
                    "SmokingStatus": str(smoking),
                },
                columns=list(COLUMNS),
            )
        )
        truth.append(
            {
                "Patient": patient,
                "extent": round(extent, 6),
                "slope": round(slope, 4),
                "baseline_fvc": round(expected[0], 1),
                "height_cm": round(height, 1),
            }
        )
    return pd.concat(visits, ignore_index=True), pd.DataFrame(truth)


def _simulate_scan(folder: Path, number: int, extent: float, seed: int, resolution: float) -> None:
    rng = generator(seed, number, "scan")
    slice_spacing = float(rng.choice([5.0, 6.0, 7.0, 7.5, 8.0, 10.0]))
    matrix = {2: 192, 3: 320}.get(number, int(rng.choice([240, 256, 256, 256])))
    field_of_view = rng.uniform(365, 395)  # mm
    slices = max(int(np.clip(rng.uniform(255, 285) / slice_spacing, 24, 60) * resolution), 4)
    pixels = max(int(matrix * resolution), 16)
    grid = Grid(
        (slices, pixels, pixels),
        (round(slice_spacing / resolution, 4), round(field_of_view / pixels, 6), round(field_of_view / pixels, 6)),
    )
    hu = render_thorax(grid, extent, rng)
    if number % 3 == 0:
        _, y, x = grid.axes()
        hu = np.where(np.hypot(x, y) > field_of_view / 2, np.int16(-2000), hu)
    shift = rng.uniform(-250, -100, 3).round(1)  # mm, of the scanner's origin
    write_ct_series(
        folder,
        hu,
        grid.spacing,
        (grid.origin + shift).tolist(),
        patient=folder.name,
        head_first=bool(rng.random() < 0.5),
        intercept=int(rng.choice([-1024, 0])),
        compressed=number == 0,
        positions=number != 1,
    )
