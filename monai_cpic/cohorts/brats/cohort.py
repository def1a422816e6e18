"""The BraTS 2020 cohort: patients with a glioma, their MRI, covariates and survival.

The layout is that of the challenge's training set (https://www.med.upenn.edu/cbica/brats2020/)::

    dataset_dir/survival_info.csv                            Brats20ID,Age,Survival_days,Extent_of_Resection
    dataset_dir/<Brats20ID>/<Brats20ID>_<modality>.nii[.gz]  flair, t1, t1ce and t2, on one grid, 0 outside of the brain
    dataset_dir/<Brats20ID>/<Brats20ID>_seg.nii[.gz]         labels: 1 necrosis, 2 edema, 4 enhancing tumour
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from tqdm import tqdm

from monai_cpic.cohorts.brats.survival import check_survival, read_survival_lines
from monai_cpic.cohorts.folds import folds
from monai_cpic.cohorts.tables import known_exclusions
from monai_cpic.data import open_volume

__all__ = ["COVARIATES", "FIVE_YEARS", "MODALITIES", "find_scan", "folds", "predictions_table", "read_cohort"]

logger = logging.getLogger(__name__)

MODALITIES = ("flair", "t1", "t1ce", "t2")
COVARIATES = ("(age - 61 years) / 12 years", "gross total resection", "subtotal resection")
"""The columns of ``covariates``. Scales are fixed, not fitted, so that a prediction needs only its own patient."""

FIVE_YEARS = 5 * 365.0  # days: the unit of the label

_MISNAMED_SEG = "*_Segm.nii*"  # as the segmentation of case 355, W39_1998.09.19_Segm.nii


def read_cohort(
    dataset_dir: str | Path,
    table: str = "survival_info.csv",
    modalities: Sequence[str] = MODALITIES,
    segmentation: bool = False,
    alive: str | float = "exclude",
    exclude: Collection[str] = (),
    survival_known: bool = True,
    require_scans: bool = True,
) -> list[dict[str, Any]]:
    """Read the cohort as a MONAI data list, one item per patient, sorted by name.

    Scans are opened, so that a broken one is named before anything else begins; those in ``.nii.gz`` are unpacked into the cache.
    Scans without a line in the table (a third of the real training set) are counted in the log.

    Args:
        dataset_dir: folder that holds the table and a folder for each patient.
        table: name of the table, ``survival_info.csv`` or ``survival_evaluation.csv``.
        modalities: of :data:`MODALITIES`, the channels of ``image`` in this order.
        segmentation: add the segmentation as the last channel.
        alive: what becomes of patients that are alive (:func:`~monai_cpic.cohorts.brats.survival.check_survival`).
        exclude: patients to leave out; they are counted and logged by name.
        survival_known: the survival of every patient has to be known; otherwise it may be missing.
        require_scans: check that the patients have scans of one geometry.

    Returns:
        Items with ``patient`` (name), ``image`` (paths, one for each channel), ``age`` (years), ``resection``, ``survival_days``
        (float, NaN if unknown), ``died`` (bool, False if the survival is a lower bound or unknown), ``covariates`` (float32
        [1, 3], see :data:`COVARIATES`) and ``label`` (float32 [1, 2]: survival in units of five years; 1 if the patient died).

    Raises:
        FileNotFoundError: when the table does not exist.
        ValueError: when the table is broken, a patient has no scan or a broken one, a modality is missing or of another shape or
            affine, or ``modalities`` or ``exclude`` hold an unknown name.
    """
    unknown = [name for name in modalities if name not in MODALITIES]
    if isinstance(modalities, str) or unknown or len(set(modalities)) != len(modalities) or not modalities:
        raise ValueError(f"modalities must be a list of some of {', '.join(MODALITIES)}, each once, got {modalities!r}.")
    folder, path = Path(dataset_dir), Path(dataset_dir) / table
    lines = read_survival_lines(path)
    excluded = known_exclusions(exclude, set(lines["Brats20ID"]), path)
    survival = check_survival(path, lines[~lines["Brats20ID"].isin(excluded)], alive, survival_known)
    names = (*modalities, *(["seg"] if segmentation else []))
    items = [_item(row) for row in survival.to_dict("records")]
    if require_scans:
        unlisted = {case.name for case in folder.glob("BraTS20_*") if case.is_dir()} - set(lines["Brats20ID"])
        if unlisted:
            logger.info("%s: %d folders have no line in %s and are not used.", folder, len(unlisted), table)
        scans = _checked_scans(folder, path, [item["patient"] for item in items], names)
        items = [{**item, "image": scan} for item, scan in zip(items, scans, strict=True)]
    return items


def find_scan(case: Path, name: str) -> Path | None:
    """The file of a modality, or of the segmentation (``"seg"``); None if there is none.

    Args:
        case: the patient's folder; files begin with its name.
        name: of :data:`MODALITIES`, or ``"seg"``, which is also found under the name that one real case has by mistake.
    """
    candidates = [case / f"{case.name}_{name}.nii", case / f"{case.name}_{name}.nii.gz"]
    if name == "seg":
        candidates += sorted(case.glob(_MISNAMED_SEG))
    return next((path for path in candidates if path.is_file()), None)


def predictions_table(cohort: Sequence[dict[str, Any]], days: Iterable[float]) -> pd.DataFrame:
    """Lay out predictions; the first two columns are what the challenge asks for.

    Args:
        cohort: the predicted patients.
        days: the predicted survival of each, in days.

    Returns:
        One row per patient: ``Brats20ID``, ``Survival_days`` (predicted), ``Age``, ``Extent_of_Resection``,
        ``Survival_days_true`` (NaN if unknown) and ``died`` (False: a lower bound, or unknown).

    Raises:
        ValueError: when the predictions do not fit the cohort.
    """
    rows = [
        {
            "Brats20ID": item["patient"],
            "Survival_days": float(predicted),
            "Age": item["age"],
            "Extent_of_Resection": item["resection"],
            "Survival_days_true": item["survival_days"],
            "died": item["died"],
        }
        for item, predicted in zip(cohort, days, strict=True)
    ]
    return pd.DataFrame(rows)


def _item(row: dict[str, Any]) -> dict[str, Any]:
    """Turn a patient's row into an item of the data list, as yet without scans."""
    resection = row["Extent_of_Resection"]
    return {
        "patient": row["Brats20ID"],
        "age": row["Age"],
        "resection": resection,
        "survival_days": row["Survival_days"],
        "died": bool(row["died"]),
        "covariates": torch.tensor([[(row["Age"] - 61) / 12, resection == "GTR", resection == "STR"]], dtype=torch.float32),
        "label": torch.tensor([[row["Survival_days"] / FIVE_YEARS, row["died"]]], dtype=torch.float32),
    }


def _checked_scans(folder: Path, table: Path, patients: Sequence[str], names: Sequence[str]) -> list[list[str]]:
    """For each patient the paths of its channels, after opening them; all patients with problems are named at once."""
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
                open_volume(scans[-1])
            except ValueError as error:
                problems.append(f"patient {patient}: {error}")
    if problems:
        raise ValueError(
            f"{len(problems)} patients lack scans of one geometry. Complete them, name fewer modalities, or leave the patients "
            "out with exclude=[...]:\n  " + "\n  ".join(problems)
        )
    return scans
