"""Where predictions come from: what the head of a report says before any number."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from monai_cpic.model_files import TrainingRecord
from monai_cpic.model_files.record import versions

__all__ = ["RESEARCH_ONLY", "SIMULATION_FILE", "Provenance", "is_simulated"]

SIMULATION_FILE = "simulation.json"
"""Settings of a simulated cohort, in its folder; real cohorts have no such file."""

RESEARCH_ONLY = "For research only. This is not a medical device: do not use it for decisions about patients."


def is_simulated(dataset_dir: str | Path) -> bool:
    """Whether a cohort's folder, or that of its table, holds simulated patients."""
    path = Path(dataset_dir)
    return ((path.parent if path.is_file() else path) / SIMULATION_FILE).is_file()


@dataclass(frozen=True)
class Provenance:
    """The data, the model and the software of a run.

    Args:
        dataset_dir: folder, or table, of the patients that are predicted.
        record: training of the model.
        exclude: patients that were left out as asked.

    Example:
        >>> record = TrainingRecord({}, {}, fold=0, seed=0, patients=["a", "b"], simulated=True)
        >>> Provenance("data", record).notices()[0]
        'Trained on simulated patients: predictions for real patients mean nothing.'
    """

    dataset_dir: str | Path
    record: TrainingRecord
    exclude: Collection[str] = ()

    def notices(self) -> list[str]:
        """What a reader must know before reading on."""
        if is_simulated(self.dataset_dir):
            about = ["Simulated data: these are no real patients."]
        elif self.record.simulated:
            about = ["Trained on simulated patients: predictions for real patients mean nothing."]
        else:
            about = []
        return [*about, RESEARCH_ONLY]

    def facts(self, patients: str) -> dict[str, str]:
        """What the head of a report lists, by name.

        Args:
            patients: numbers of patients, in words.
        """
        now, then = versions(), self.record.versions
        changed = [f"{name} {then.get(name, 'unknown')}" for name in now if then.get(name) != now[name]]
        return {
            "Patients": f"{patients}; {self._left_out()}",
            "Data": f"{'simulated' if is_simulated(self.dataset_dir) else 'real'}, {Path(self.dataset_dir).resolve()}",
            "Model": f"{self._training()}, fold {self.record.fold}, seed {self.record.seed}",
            "Date": datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
            "Versions": ", ".join(f"{name} {number}" for name, number in now.items())
            + (f"; the model was trained with {', '.join(changed)}" if changed else ""),
        }

    def _left_out(self) -> str:
        return f"{len(self.exclude)} left out as asked: {', '.join(sorted(self.exclude))}" if self.exclude else "none left out"

    def _training(self) -> str:
        return f"trained on {len(self.record.patients)} {'simulated' if self.record.simulated else 'real'} patients"
