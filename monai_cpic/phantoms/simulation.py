"""What all simulated cohorts share: they are complete or not there, seeded patient by patient, and never overwritten."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

logger = logging.getLogger(__name__)

SETTINGS = "simulation.json"


def write_cohort(dataset_dir: str | Path, settings: Mapping[str, Any], write: Callable[[Path], None]) -> Path:
    """Write a cohort aside and rename it at the end, so that an interrupted one is never taken for a complete one.

    Args:
        dataset_dir: the folder to create; it may exist, but only empty.
        settings: what the cohort is made with, kept beside it in ``simulation.json``.
        write: fills a given empty folder.

    Returns:
        The folder.

    Raises:
        FileExistsError: when the folder exists and is not empty.
    """
    target = Path(dataset_dir).resolve()
    if target.exists() and any(target.iterdir()):
        raise FileExistsError(f"{target} is not empty: name another folder, or delete it to simulate a cohort there.")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-unfinished-") as staging:
        cohort = Path(staging) / "cohort"
        cohort.mkdir()
        write(cohort)
        (cohort / SETTINGS).write_text(json.dumps(settings, indent=2) + "\n")
        if target.exists():
            target.rmdir()
        cohort.replace(target)
    return target


def ensure_cohort(dataset_dir: str | Path, table: str, settings: Mapping[str, Any], simulate: Callable[[Path], Path]) -> Path:
    """Return a folder with a cohort: the one that is there, else a simulated one.

    A folder with the table but no ``simulation.json`` is a real download and is returned as it is. Several processes may call
    this at once: the first to finish provides the cohort.

    Args:
        dataset_dir: the folder.
        table: name of the file that a cohort has.
        settings: of the simulation.
        simulate: writes a cohort with these settings.

    Returns:
        The folder.

    Raises:
        FileExistsError: when the folder holds a cohort simulated with other settings, or something else.
    """
    target = Path(dataset_dir).resolve()
    if not (target / table).is_file():
        logger.warning("%s holds no cohort: simulating %d patients there.", target, settings["patients"])
        try:
            return simulate(target)
        except OSError:
            if not (target / SETTINGS).is_file():  # else another process has finished in the meantime
                raise
    if (target / SETTINGS).is_file():
        found = json.loads((target / SETTINGS).read_text())
        if found != settings:
            raise FileExistsError(
                f"{target} holds a cohort simulated with {found}, asked for was {settings}: "
                "name another folder, or delete it to simulate it anew."
            )
    return target


def generator(seed: int, patient: int, purpose: str) -> np.random.Generator:
    """Random numbers of one patient for one purpose, which do not depend on any other patient."""
    return np.random.default_rng([seed, patient, *purpose.encode()])


def checked_settings(cohort: str, patients: int, seed: int, resolution: float) -> dict[str, str | float]:
    """The settings of a simulation.

    Raises:
        ValueError: when ``patients`` or ``resolution`` is not positive.
    """
    if patients < 1 or resolution <= 0:
        raise ValueError(f"patients and resolution must be positive, got {patients} and {resolution}.")
    return {"cohort": cohort, "patients": patients, "seed": seed, "resolution": resolution}
