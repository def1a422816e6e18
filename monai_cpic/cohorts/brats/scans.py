"""The scans of the BraTS layout: a file for each modality of a patient, all on one grid."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from pathlib import Path

from tqdm import tqdm

from monai_cpic.data import open_volume

__all__ = ["MODALITIES", "checked_scans", "count_unlisted", "find_scan"]

logger = logging.getLogger(__name__)

MODALITIES = ("flair", "t1", "t1ce", "t2")

_MISNAMED_SEG = "*_Segm.nii*"  # the segmentation of case 355 is named W39_1998.09.19_Segm.nii


def find_scan(case: Path, name: str) -> Path | None:
    """The file of a modality, or of the segmentation (``"seg"``); None if there is none.

    Args:
        case: the patient's folder; files begin with its name.
        name: one of :data:`MODALITIES`, or ``"seg"``, which is also found under the wrong name that it has in one real case.
    """
    candidates = [case / f"{case.name}_{name}.nii", case / f"{case.name}_{name}.nii.gz"]
    if name == "seg":
        candidates += sorted(case.glob(_MISNAMED_SEG))
    return next((path for path in candidates if path.is_file()), None)


def checked_scans(
    folder: Path, table: Path, patients: Sequence[str], names: Sequence[str], opened: bool = True
) -> list[list[str]]:
    """Find the channels of each patient and open them; opening unpacks ``.nii.gz`` files into the cache.

    Args:
        folder: contains a folder for each patient.
        table: path of the table, for messages.
        patients: names in the table.
        names: names of the channels, as for :func:`find_scan`.
        opened: open them; those of new patients are opened one by one, so that a broken one does not stop the others.

    Returns:
        the paths of the channels of each patient.

    Raises:
        ValueError: when a patient has no folder, a channel is missing, broken, or of another shape or affine; the message names
            all patients with problems.
    """
    problems: list[str] = []
    scans: list[list[str]] = []
    for patient in tqdm(patients, "opening scans", leave=False, disable=None):
        case = folder / patient
        found = {name: find_scan(case, name) for name in names}
        missing = [name for name, path in found.items() if path is None]
        if not case.is_dir():
            problems.append(f"patient {patient} of {table} has no folder in {folder}")
        elif missing:
            modalities = "none of the scans" if len(missing) == len(names) else "no"
            problems.append(f"patient {patient}: {case} holds {modalities} {', '.join(missing)} (.nii or .nii.gz)")
        else:
            scans.append([str(path) for path in found.values()])
            try:
                if opened:
                    open_volume(scans[-1])
            except ValueError as error:
                problems.append(f"patient {patient}: {error}")
    if problems:
        raise ValueError(
            f"{len(problems)} patients lack scans of one geometry. Complete them, name fewer modalities, or leave the patients "
            "out with exclude=[...]:\n  " + "\n  ".join(problems)
        )
    return scans


def count_unlisted(folder: Path, table: Path, listed: Collection[str]) -> None:
    """Log the number of patients' folders that have no line in the table (a third of those of the real training set)."""
    unlisted = {case.name for case in folder.glob("BraTS20_*") if case.is_dir()} - set(listed)
    if unlisted:
        logger.info("%s: %d folders have no line in %s and are not used.", folder, len(unlisted), table.name)
