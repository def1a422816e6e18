"""The interface of simulated cohorts: written completely or not at all, seeded for each patient, never overwritten."""

from __future__ import annotations

import json
import logging
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from monai_cpic.cohorts.provenance import SIMULATION_FILE, is_simulated
from monai_cpic.staging import remove_unfinished, write_whole

__all__ = ["Simulation", "generator"]

logger = logging.getLogger(__name__)


class Simulation(ABC):
    """A simulated cohort in the layout of a public one, with a known truth.

    In addition to the cohort's files there are ``truth.csv``, with one row per patient, and ``simulation.json``, with the
    settings. A derived class defines the tables of the cohort (:meth:`tables`) and the scan of a patient (:meth:`write_patient`),
    and extends :meth:`fill` if there are further files.

    Args:
        patients: number of patients.
        seed: seed of the cohort; equal seeds give equal files, and a patient does not depend on the number of patients.
        resolution: factor of the number of voxels along each axis, for small cohorts in tests.

    Attributes:
        name: name of the cohort in the settings.
        table: file name of the cohort's CSV table.

    Raises:
        ValueError: when ``patients`` or ``resolution`` is not positive.
    """

    name: str
    table: str

    def __init__(self, patients: int = 40, seed: int = 0, resolution: float = 1.0) -> None:
        if patients < 1 or resolution <= 0:
            raise ValueError(f"patients and resolution must be positive, got {patients} and {resolution}.")
        self.patients = patients
        self.seed = seed
        self.resolution = resolution

    @property
    def settings(self) -> dict[str, str | float]:
        """The settings of the simulation, as in ``simulation.json``."""
        return {"cohort": self.name, "patients": self.patients, "seed": self.seed, "resolution": self.resolution}

    @abstractmethod
    def tables(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Simulate the cohort's table and the truth, one row per patient."""

    @abstractmethod
    def write_patient(self, cohort: Path, number: int, truth: dict[str, Any]) -> None:
        """Simulate and write the scan of a patient.

        Args:
            cohort: the cohort's folder.
            number: number of the patient, from 0.
            truth: the patient's row of the truth.
        """

    def fill(self, cohort: Path, progress: bool) -> None:
        """Write the cohort's files into an empty folder.

        Args:
            cohort: the folder.
            progress: show a progress bar.
        """
        table, truth = self.tables()
        table.to_csv(cohort / self.table, index=False)
        truth.to_csv(cohort / "truth.csv", index=False)
        for number, row in enumerate(tqdm(truth.to_dict("records"), "simulating", disable=not progress)):
            self.write_patient(cohort, number, row)

    def write(self, dataset_dir: str | Path, progress: bool = True) -> Path:
        """Write the cohort to a temporary folder and rename that at the end, so that an interrupted cohort is never used.

        What interrupted simulations left beside the folder is removed.

        Args:
            dataset_dir: the folder to create; it may exist if it is empty.
            progress: show a progress bar.

        Returns:
            The folder.

        Raises:
            FileExistsError: when the folder exists and is not empty.
        """
        target = Path(dataset_dir).resolve()
        if target.exists() and any(target.iterdir()):
            raise FileExistsError(f"{target} is not empty: name another folder, or delete it to simulate a cohort there.")
        remove_unfinished(target.parent)
        with write_whole(target) as cohort:
            cohort.mkdir()
            self.fill(cohort, progress)
            (cohort / SIMULATION_FILE).write_text(json.dumps(self.settings, indent=2) + "\n")
        return target

    def ensure(self, dataset_dir: str | Path) -> Path:
        """Return the folder if it contains a cohort; otherwise write this cohort there first.

        A folder with the table but without ``simulation.json`` is a real download and is returned as it is.  Several processes
        may call this at the same time; the first to finish provides the cohort.

        Args:
            dataset_dir: the folder.

        Returns:
            The folder.

        Raises:
            FileExistsError: when the folder contains a cohort simulated with other settings, or other files.
        """
        target = Path(dataset_dir).resolve()
        if not (target / self.table).is_file():
            logger.warning("%s holds no cohort: simulating %d patients there.", target, self.patients)
            try:
                return self.write(target)
            except OSError:
                if not is_simulated(target):  # else another process has finished in the meantime
                    raise
        if is_simulated(target):
            found = json.loads((target / SIMULATION_FILE).read_text())
            if found != self.settings:
                raise FileExistsError(
                    f"{target} holds a cohort simulated with {found}, asked for was {self.settings}: "
                    "name another folder, or delete it to simulate it anew."
                )
        return target


def generator(seed: int, patient: int, purpose: str) -> np.random.Generator:
    """The random numbers of one patient for one purpose, independent of all other patients."""
    return np.random.default_rng([seed, patient, *purpose.encode()])
