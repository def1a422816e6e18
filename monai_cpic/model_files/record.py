"""The record of a training: what its predictions depend on, and who was trained on."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from importlib.metadata import version
from typing import Any

from monai_cpic.model_files.configuration import disagreements

__all__ = ["ALL_FOLDS", "TrainingRecord", "check_patients", "hashed", "versions"]

ALL_FOLDS = "all"  # the fold of a model that averages the networks of all folds
LENGTH_OF_TRAINING = frozenset({"max_epochs", "val_interval", "patience"})  # may change when a training goes on


def hashed(patients: Iterable[str]) -> list[str]:
    """Hashes of the different names of patients, sorted: enough to recognise them, and the names are not in the file.

    Whoever has a list of names can still find out which of them are among the patients.

    Example:
        >>> hashed(["ID2", "ID1"]) == hashed(["ID1", "ID2"])
        True
    """
    return sorted(hashlib.blake2b(name.encode(), digest_size=8).hexdigest() for name in set(patients))


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that predictions depend on."""
    packages = ("monai-cpic", "monai", "torch", "numpy", "scipy")
    return {"python": platform.python_version(), **{package: version(package) for package in packages}}


@dataclass(frozen=True)
class TrainingRecord:
    """What a model file and a checkpoint hold beside the weights.

    Args:
        settings: the settings of the training and the parts of its network and preprocessing, as of
            :func:`~monai_cpic.model_files.described`.
        units: unit of each column of predictions.
        fold: the validation fold; ``"all"`` for the mean of the networks of all folds, which has none.
        seed: the seed of folds, weights and batches.
        patients: the training patients, as of :func:`hashed`.
        simulated: whether the training patients are simulated.
        versions: versions of the packages.
    """

    settings: dict[str, Any]
    units: dict[str, str]
    fold: int | str
    seed: int
    patients: list[str]
    simulated: bool = False
    versions: dict[str, str] = field(default_factory=versions)

    def state_dict(self) -> dict[str, Any]:
        """The record as plain values."""
        return asdict(self)

    @classmethod
    def from_state_dict(cls, state: dict[str, Any]) -> TrainingRecord:
        """The inverse of :meth:`state_dict`.

        Raises:
            KeyError: if an entry is missing.
        """
        return cls(**{entry.name: state[entry.name] for entry in fields(cls)})

    def differences(self, saved: TrainingRecord) -> list[str]:
        """Why a training with this record does not continue the one of ``saved``: one line for each difference.

        Versions may differ, and so may the settings of how long to train, how often to validate, and when to stop.
        """
        ours, theirs = self._compared(), saved._compared()
        missing = {key: "nothing" for key in theirs if key not in ours}
        lines = disagreements({**ours, **missing}, theirs, "now", "saved")
        left, joined = len(set(saved.patients) - set(self.patients)), len(set(self.patients) - set(saved.patients))
        if left or joined:
            lines.append(f"patients: {left} of the {len(saved.patients)} are missing, and {joined} are new")
        return lines

    def _compared(self) -> dict[str, Any]:
        kept = {name: value for name, value in self.settings.items() if name not in LENGTH_OF_TRAINING}
        return {"fold": self.fold, "seed": self.seed, **kept, "units": self.units}


def check_patients(record: TrainingRecord, training: Iterable[str]) -> None:
    """Check that the training part of a split consists of a model's training patients, before the other part is evaluated.

    Args:
        record: the model's record.
        training: names of the patients.

    Raises:
        ValueError: if there are others.
    """
    found = set(hashed(training))
    left, joined = len(set(record.patients) - found), len(found - set(record.patients))
    if left or joined:
        raise ValueError(
            f"patients: this cohort's training part lacks {left} of the model's {len(record.patients)} training patients and has "
            f"{joined} others, so that the rest is not the model's validation fold: give the training's dataset_dir and exclude"
        )
