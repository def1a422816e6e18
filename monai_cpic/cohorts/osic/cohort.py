"""The OSIC pulmonary fibrosis cohort: patients, covariates, folds and predictions.

The layout is Kaggle's (https://www.kaggle.com/c/osic-pulmonary-fibrosis-progression)::

    dataset_dir/train.csv                     Patient,Weeks,FVC,Percent,Age,Sex,SmokingStatus
    dataset_dir/train/<Patient>/<n>.dcm       one CT series per patient
    dataset_dir/test.csv, test/...            the same, with one visit per patient

A patient's earliest visit is the *baseline*: with the scan, it is what a prediction starts from, and never a target.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from monai_cpic.cohorts.folds import folds
from monai_cpic.cohorts.osic.visits import COLUMNS, check_visits
from monai_cpic.cohorts.tables import known_exclusions, read_lines

__all__ = ["COVARIATES", "constant_prediction", "folds", "prediction_rows", "predictions_table", "read_cohort"]

COVARIATES = (
    "weeks since baseline / 52",
    "baseline week / 52",
    "(baseline FVC - 2700 ml) / 800 ml",
    "(baseline Percent - 78) / 20",
    "(age - 67 years) / 7 years",
    "male",
    "ex-smoker",
    "currently smokes",
)
"""The columns of ``covariates``. Scales are fixed, not fitted, so that a prediction needs only its own patient."""

CHANGE_UNIT = 300.0  # ml: such that changes since the baseline are about 1
RATE_UNIT = 200.0  # ml per year: about the spread of the patients' rates

SMALLEST_CONFIDENCE = 70.0  # ml, as in the challenge's score


def read_cohort(
    dataset_dir: str | Path,
    split: str = "train",
    require_scans: bool = True,
    exclude: Collection[str] = (),
    weeks: Iterable[int] | None = None,
) -> list[dict[str, Any]]:
    """Read one split of the cohort as a MONAI data list, one item per patient, sorted by name.

    Args:
        dataset_dir: folder that holds ``<split>.csv`` and ``<split>/<Patient>/*.dcm``.
        split: ``"train"`` or ``"test"``.
        require_scans: check that patients in the table and scan folders are the same.
        exclude: patients to leave out; they are counted and logged by name.
        weeks: weeks to predict for every patient, on the table's own scale (the challenge asks for
            ``range(-12, 134)``). By default, the weeks at which the patient was measured after the baseline.

    Returns:
        Items with ``patient`` (name), ``image`` (scan folder), ``weeks`` (int64 [V]), ``fvc`` (float32 [V], ml, NaN
        where it was not measured and at the baseline, which is no target), ``covariates`` (float32 [V, 8], see
        :data:`COVARIATES`), ``baseline_fvc`` (float, ml) and ``label`` (float32 [V, 2]: the change of FVC since the
        baseline in units of 300 ml, NaN where it was not measured; the slope of the least-squares line through all the patient's
        visits, the baseline among them, in units of 200 ml per year, NaN where there is one visit).

    Raises:
        FileNotFoundError: when the table or the folder of scans does not exist.
        ValueError: when the table is broken (:func:`~monai_cpic.cohorts.osic.visits.check_visits`), a patient has no scan
            or a scan no patient, a patient has no visit to predict, or ``exclude`` holds an unknown name.
    """
    table, scans = Path(dataset_dir) / f"{split}.csv", Path(dataset_dir) / split
    lines = read_lines(table, COLUMNS)
    folders = _scan_folders(scans) if require_scans else set()
    excluded = known_exclusions(exclude, set(lines["Patient"]) | folders, table)
    visits = check_visits(table, lines[~lines["Patient"].isin(excluded)])
    if require_scans:
        _check_scans(table, scans, set(visits["Patient"]), folders - set(excluded))

    asked = None if weeks is None else list(weeks)
    if asked is not None and not asked:
        raise ValueError("weeks is empty: give the weeks to predict, or None for the measured ones.")
    by_patient = dict(list(visits.groupby("Patient", sort=True)))
    alone = [patient for patient, own in by_patient.items() if len(own) == 1]
    if asked is None and alone:
        raise ValueError(
            f"{table}: {len(alone)} patients have a baseline visit but none to predict: {', '.join(alone)}. "
            "Name the weeks to predict with weeks=[...], or leave these patients out with exclude=[...]."
        )
    return [_item(scans / patient, own, asked) for patient, own in by_patient.items()]


def prediction_rows(baseline: pd.Series, weeks: Sequence[int]) -> torch.Tensor:
    """Encode what is known at the baseline visit, once for each week to predict.

    Args:
        baseline: the baseline visit, a row of the visits table.
        weeks: weeks to predict, on the table's own scale, V of them.

    Returns:
        Covariates, float32 [V, 8], in the order of :data:`COVARIATES`.
    """
    since_baseline = (torch.tensor(weeks, dtype=torch.float32) - float(baseline["Weeks"])) / 52
    constant = torch.tensor(
        [
            baseline["Weeks"] / 52,
            (baseline["FVC"] - 2700) / 800,
            (baseline["Percent"] - 78) / 20,
            (baseline["Age"] - 67) / 7,
            baseline["Sex"] == "Male",
            baseline["SmokingStatus"] == "Ex-smoker",
            baseline["SmokingStatus"] == "Currently smokes",
        ],
        dtype=torch.float32,
    )
    return torch.cat([since_baseline[:, None], constant.expand(len(weeks), -1)], dim=1)


def constant_prediction(
    training: Sequence[dict[str, Any]], cohort: Sequence[dict[str, Any]], quantiles: Sequence[float] = (0.2, 0.5, 0.8)
) -> list[torch.Tensor]:
    """Predict the quantiles of all FVC measured in the training part for every visit: the reference to beat.

    Args:
        training: patients whose FVC is known.
        cohort: patients to predict.
        quantiles: the predicted quantiles, Q of them.

    Returns:
        For each patient of ``cohort`` float32 [V, Q], in ml.
    """
    fvc = torch.cat([item["fvc"] for item in training])
    constant = torch.nanquantile(fvc, torch.tensor(quantiles, dtype=fvc.dtype))
    return [constant.expand(len(item["weeks"]), -1) for item in cohort]


def predictions_table(cohort: Sequence[dict[str, Any]], quantiles: Sequence[torch.Tensor]) -> pd.DataFrame:
    """Lay out predictions as the challenge asks for them; its first three columns are a submission.

    Args:
        cohort: the predicted patients.
        quantiles: for each patient the 0.2, 0.5 and 0.8 quantiles, [V, 3], in ml.

    Returns:
        One row per patient and week: ``Patient_Week`` (``<patient>_<week>``), ``FVC`` (the median, q50), ``Confidence``
        (q80 - q20, but at least 70, below which the score does not distinguish), ``q20``, ``q50``, ``q80`` and
        ``FVC_measured`` (NaN where it was not measured); in ml.

    Raises:
        ValueError: when the predictions do not fit the cohort.

    Example:
        >>> item = {"patient": "ID1", "weeks": torch.tensor([4]), "fvc": torch.tensor([2510.0])}
        >>> predictions_table([item], [torch.tensor([[2400.0, 2500.0, 2600.0]])])
          Patient_Week     FVC  Confidence     q20     q50     q80  FVC_measured
        0        ID1_4  2500.0       200.0  2400.0  2500.0  2600.0        2510.0
    """
    if len(cohort) != len(quantiles):
        raise ValueError(f"got predictions for {len(quantiles)} patients, but a cohort of {len(cohort)}.")
    tables = []
    for item, q in zip(cohort, quantiles, strict=True):
        if q.shape != (len(item["weeks"]), 3):
            raise ValueError(
                f"patient {item['patient']}: predictions must be [{len(item['weeks'])} weeks, 3 quantiles], got {list(q.shape)}."
            )
        low, median, high = q.detach().cpu().double().numpy().T
        columns = {
            "Patient_Week": [f"{item['patient']}_{week}" for week in item["weeks"].tolist()],
            "FVC": median,
            "Confidence": np.maximum(high - low, SMALLEST_CONFIDENCE),
            "q20": low,
            "q50": median,
            "q80": high,
            "FVC_measured": item["fvc"].double().numpy(),
        }
        tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True)


def _item(scan: Path, visits: pd.DataFrame, weeks: list[int] | None) -> dict[str, Any]:
    """Turn the visits of one patient, sorted by week, into an item of the data list."""
    baseline, measured = visits.iloc[0], visits.iloc[1:].set_index("Weeks")["FVC"]
    asked = measured.index.tolist() if weeks is None else weeks
    fvc = torch.tensor(measured.reindex(asked).to_numpy(), dtype=torch.float32)
    return {
        "patient": scan.name,
        "image": str(scan),
        "weeks": torch.tensor(asked, dtype=torch.int64),
        "fvc": fvc,
        "label": torch.stack([(fvc - float(baseline["FVC"])) / CHANGE_UNIT, torch.full_like(fvc, _rate(visits) / RATE_UNIT)], 1),
        "covariates": prediction_rows(baseline, asked),
        "baseline_fvc": float(baseline["FVC"]),
    }


def _rate(visits: pd.DataFrame) -> float:
    """Slope of the least-squares line through a patient's visits, ml per year."""
    if len(visits) == 1:
        return np.nan
    line = np.polynomial.Polynomial.fit(visits["Weeks"] / 52, visits["FVC"], 1)
    return float(line.deriv()(0.0))  # the coefficients of a level line may be trimmed to one


def _scan_folders(scans: Path) -> set[str]:
    if not scans.is_dir():
        raise FileNotFoundError(f"{scans} does not exist: it must hold one folder of DICOM files per patient.")
    return {folder.name for folder in scans.iterdir() if folder.is_dir()}


def _check_scans(table: Path, scans: Path, patients: set[str], folders: set[str]) -> None:
    """Raise unless every patient of the table has a scan that is not empty, and every scan a patient."""
    empty = {folder for folder in patients & folders if not any((scans / folder).iterdir())}
    problems = [
        *(f"patient {patient} of {table} has no folder in {scans}" for patient in sorted(patients - folders)),
        *(f"patient {patient}: {scans / patient} is empty" for patient in sorted(empty)),
        *(f"{scans / folder} has no line in {table}" for folder in sorted(folders - patients)),
    ]
    if problems:
        raise ValueError(
            f"{len(problems)} patients lack a scan or a line in the table. Complete them, or leave them out with "
            "exclude=[...]:\n  " + "\n  ".join(problems)
        )
