"""The BraTS 2020 cohort: survival with a glioma from brain MRI, age and extent of resection.

The layout is that of the challenge's training set (https://www.med.upenn.edu/cbica/brats2020/)::

    dataset_dir/survival_info.csv                            Brats20ID,Age,Survival_days,Extent_of_Resection
    dataset_dir/<Brats20ID>/<Brats20ID>_<modality>.nii[.gz]  flair, t1, t1ce and t2, on one grid, 0 outside of the brain
    dataset_dir/<Brats20ID>/<Brats20ID>_seg.nii[.gz]         labels: 1 necrosis, 2 edema, 4 enhancing tumour
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from ignite.metrics import Metric, RootMeanSquaredError
from matplotlib.figure import Figure
from torch import Tensor

from monai_cpic.cohorts.base import Cohort, Explained
from monai_cpic.cohorts.baselines import Baseline
from monai_cpic.cohorts.baselines.survival import (
    CoxSurvival,
    MeanSurvival,
    RidgeSurvival,
    age,
    age_and_resection,
    age_resection_and_tumour,
)
from monai_cpic.cohorts.brats.classes import class_table
from monai_cpic.cohorts.brats.figures import CALIBRATION_CAPTION, predicted_against_true_days, survival_calibration
from monai_cpic.cohorts.brats.items import COVARIATES, FIVE_YEARS, patient_item, possible_survival
from monai_cpic.cohorts.brats.patients_table import patients_table
from monai_cpic.cohorts.brats.scans import MODALITIES, checked_scans, count_unlisted
from monai_cpic.cohorts.brats.survival_table import check_survival, read_survival_lines
from monai_cpic.cohorts.intervals import OffsetIntervals
from monai_cpic.cohorts.tables import known_exclusions
from monai_cpic.data import LazyVolume
from monai_cpic.metrics import concordance_index, survival_scores
from monai_cpic.reporting.report import Report
from monai_cpic.reporting.sampling_figures import channel_positions

__all__ = ["BraTSCohort"]


class BraTSCohort(Cohort):
    """Survival in days, from the MRI before surgery, age and extent of resection.

    Items have ``patient`` (name), ``image`` (paths, one for each channel), ``age`` (years), ``resection``, ``survival_days``
    (float, NaN if unknown), ``died`` (bool, False if the survival is a lower bound or unknown), ``covariates`` (float32
    ``[1, 3]``, see the attribute ``covariates``) and ``label`` (float32 ``[1, 2]``: survival in units of five years, and 1 if the
    patient died, else 0); with ``segmentation`` also the segmentation's path, under this name.  Scans are opened when the cohort
    is read, so that broken scans are reported before the training starts.

    A network predicts ``[R, 1]``, the survival in units of five years; negative predictions are set to 0.

    The table has one row per patient: ``Brats20ID``, ``Survival_days`` (predicted), ``Age``, ``Extent_of_Resection``,
    ``Survival_days_true`` (NaN if unknown) and ``died`` (False if the survival is a lower bound or unknown).  The challenge
    requires the first two columns.

    ``rmse_days`` is computed over all patients who died, ``c_index`` over all patients with a known survival or lower bound, and
    the challenge's scores (:func:`~monai_cpic.metrics.survival_scores`) over the patients of gross total resection who died.

    Args:
        table: name of the table, ``survival_info.csv`` or ``survival_evaluation.csv``.
        modalities: some of flair, t1, t1ce and t2: the channels of ``image``, in this order.
        segmentation: add the segmentation as the last channel.
        alive: how to treat patients who are alive, see :func:`~monai_cpic.cohorts.brats.survival_table.check_survival`.
        exclude: patients to leave out; they are counted and logged by name.
        survival_known: require the survival of every patient; otherwise it may be missing.

    Raises:
        ValueError: when ``modalities`` is empty, or contains an unknown name or the same name twice.
    """

    title = "Survival from brain MRI"
    covariates = COVARIATES
    targets = ("survival_days", "died", "label")
    intervals = OffsetIntervals(0.6, possible_survival, lowest=0.0)
    higher_is_better = False
    scores_caption = (
        "RMSE in days over all patients who died; concordance index over all patients; the challenge's scores over patients "
        "of gross total resection who died, squared errors in days²."
    )
    loss_caption = "Training loss: squared error in units of five years; RMSE in days on the evaluated patients."

    def __init__(
        self,
        table: str = "survival_info.csv",
        modalities: Sequence[str] = MODALITIES,
        segmentation: bool = False,
        alive: str | float = "exclude",
        exclude: Collection[str] = (),
        survival_known: bool = True,
    ) -> None:
        unknown = [name for name in modalities if name not in MODALITIES]
        if isinstance(modalities, str) or unknown or len(set(modalities)) != len(modalities) or not modalities:
            raise ValueError(f"modalities must be a list of some of {', '.join(MODALITIES)}, each once, got {modalities!r}.")
        self.table_name = table
        self.channels = (*modalities, *(["seg"] if segmentation else []))
        self.segmentation = segmentation
        self.alive = alive
        self.exclude = exclude
        self.survival_known = survival_known

    def read(self, dataset_dir: str | Path) -> list[dict[str, Any]]:
        folder, table = Path(dataset_dir), Path(dataset_dir) / self.table_name
        lines = read_survival_lines(table)
        excluded = known_exclusions(self.exclude, set(lines["Brats20ID"]), table)
        survival = check_survival(table, lines[~lines["Brats20ID"].isin(excluded)], self.alive, self.survival_known)
        count_unlisted(folder, table, lines["Brats20ID"])
        scans = checked_scans(folder, table, survival["Brats20ID"].tolist(), self.channels, self.survival_known)
        items = [patient_item(row, scan) for row, scan in zip(survival.to_dict("records"), scans, strict=True)]
        return [{**item, "segmentation": item["image"][-1]} for item in items] if self.segmentation else items

    def in_units(self, data: Mapping[str, Any]) -> dict[str, Any]:
        unit = torch.tensor([FIVE_YEARS, 1.0]).to(data["label"])
        return {**data, "pred": data["pred"].clamp(min=0) * FIVE_YEARS, "label": data["label"] * unit}

    def key_metric(self) -> dict[str, Metric]:
        return {"rmse_days": RootMeanSquaredError(_of_deaths)}

    def table(self, patients: Sequence[Mapping[str, Any]], outputs: Sequence[Tensor]) -> pd.DataFrame:
        if len(patients) != len(outputs):
            raise ValueError(f"got predictions for {len(outputs)} patients, but a cohort of {len(patients)}.")
        rows = [
            {
                "Brats20ID": item["patient"],
                "Survival_days": days.item(),
                "Age": item["age"],
                "Extent_of_Resection": item["resection"],
                "Survival_days_true": item["survival_days"],
                "died": item["died"],
            }
            for item, days in zip(patients, outputs, strict=True)
        ]
        return pd.DataFrame(rows)

    def scores(self, table: pd.DataFrame) -> dict[str, float]:
        days, true = _days(table)
        died = torch.tensor(table["died"].to_numpy(bool))
        known = ~true.isnan()
        dead = known & died
        resected = dead & torch.tensor((table["Extent_of_Resection"] == "GTR").to_numpy(bool))
        return {
            "rmse_days": (days - true)[dead].square().mean().sqrt().item(),
            "c_index": concordance_index(days[known], true[known], died[known]),
            **survival_scores(days[resected], true[resected]),
        }

    def counts(self, table: pd.DataFrame) -> dict[str, int]:
        died = table["died"].astype(bool)
        resected = died & (table["Extent_of_Resection"] == "GTR")
        return {"deaths": int(died.sum()), "deaths_after_gross_total_resection": int(resected.sum())}

    def baselines(self) -> Sequence[Baseline]:
        with_tumour: list[Baseline] = [
            RidgeSurvival("ridge on age, resection and tumour volume", age_resection_and_tumour),
            CoxSurvival("Cox on age, resection and tumour volume", age_resection_and_tumour),
        ]
        return [
            *(with_tumour if self.segmentation else []),
            RidgeSurvival("ridge on age and resection", age_and_resection),
            CoxSurvival("Cox on age and resection", age_and_resection),
            RidgeSurvival("ridge on age", age),
            MeanSurvival(),
        ]

    def groups(self, patients: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
        age = [item["age"] for item in patients]
        return pd.DataFrame(
            {
                "age": pd.cut(age, [0, 60, np.inf], labels=["up to 60", "above 60"]),
                "extent of resection": [item["resection"] for item in patients],
            }
        )

    def report_evaluation(
        self, report: Report, patients: Sequence[Mapping[str, Any]], tables: Mapping[str, pd.DataFrame]
    ) -> None:
        network, table = next(iter(tables.items()))
        dead = table.dropna(subset="Survival_days_true")
        classes = class_table(*_days(dead[dead["died"].astype(bool)]))
        report.add_table("Classes of survival", classes, f"Patients who died, as {network} classifies them; months of 30 days.")
        report.add_figure("Predicted against true", predicted_against_true_days(table), "Dotted: limits of the classes.")
        report.add_figure("Calibration", survival_calibration(table), CALIBRATION_CAPTION)
        report.add_table("Patients", patients_table(tables), "Survival in days, age in years.")

    def report_predictions(self, report: Report, patients: Sequence[Mapping[str, Any]], table: pd.DataFrame) -> None:
        asked = ("Brats20ID", "Survival_days", "low", "high", "Age", "Extent_of_Resection")
        columns = [name for name in asked if name in table]
        report.add_table("Predicted survival", table[columns], "In days; age in years.")

    def explained(self, patient: Mapping[str, Any]) -> Explained:
        return Explained("survival (days)", patient["covariates"], unit=FIVE_YEARS)

    def sampled_voxels(self, volume: LazyVolume, points: Tensor) -> Figure:
        return channel_positions(volume, points, self.channels)


def _days(table: pd.DataFrame) -> tuple[Tensor, Tensor]:
    """Predicted and true survival."""
    predicted, true = (torch.tensor(table[name].to_numpy(float)) for name in ("Survival_days", "Survival_days_true"))
    return predicted, true


def _of_deaths(output: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Predicted and true days ``[M]`` of the patients of an engine's output who died."""
    days, died = output["label"].unbind(1)
    return output["pred"][died > 0, 0], days[died > 0]
