"""The OSIC pulmonary fibrosis cohort: FVC over the weeks from a chest CT and the baseline visit.

The layout is Kaggle's (https://www.kaggle.com/c/osic-pulmonary-fibrosis-progression)::

    dataset_dir/train.csv                     Patient,Weeks,FVC,Percent,Age,Sex,SmokingStatus
    dataset_dir/train/<Patient>/<n>.dcm       one CT series per patient
    dataset_dir/test.csv, test/...            the same, with one visit per patient

A patient's earliest visit is the *baseline*.  It is an input of the prediction, together with the scan, and never a target.
"""

from __future__ import annotations

import operator
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from ignite.metrics import Metric
from monai.handlers import IgniteMetricHandler, from_engine
from torch import Tensor

from monai_cpic.cohorts.base import Cohort, Explained
from monai_cpic.cohorts.baselines import Baseline
from monai_cpic.cohorts.baselines.fvc import BaselineAndMeanSlope, ConstantFVC, FVCRidge
from monai_cpic.cohorts.intervals import ScaledIntervals
from monai_cpic.cohorts.osic.figures import fvc_calibration, fvc_curves, predicted_against_measured
from monai_cpic.cohorts.osic.items import CHANGE_UNIT, COVARIATES, QUANTILES, measured_fvc, patient_item
from monai_cpic.cohorts.osic.patients_table import PATIENTS_CAPTION, changes, patients_table, with_visits
from monai_cpic.cohorts.osic.scans import check_scans, scan_folders
from monai_cpic.cohorts.osic.visits_table import COLUMNS, LONGEST, check_visits
from monai_cpic.cohorts.tables import known_exclusions, read_lines
from monai_cpic.losses import PinballLoss
from monai_cpic.metrics import LaplaceLogLikelihood, laplace_log_likelihood
from monai_cpic.metrics.laplace_log_likelihood import SMALLEST_SIGMA
from monai_cpic.reporting.report import Report

__all__ = ["OSICCohort"]


class OSICCohort(Cohort):
    """Quantiles of the FVC (forced vital capacity, ml) at any week, from the baseline CT and the baseline visit.

    Items have ``patient`` (name), ``image`` (scan folder), ``weeks`` (int64 ``[V]``), ``fvc`` (float32 ``[V]``, ml, NaN where it
    was not measured and at the baseline), ``covariates`` (float32 ``[V, 8]``, see the attribute ``covariates``), ``baseline_fvc``
    (float, ml) and ``label`` (float32 ``[V, 2]``).  The first column of ``label`` is the change of FVC since the baseline in
    units of 300 ml, NaN where it was not measured.  The second is the slope of the least-squares line through all visits of the
    patient, including the baseline, in units of 200 ml per year; NaN if there is only one visit.

    A network predicts ``[R, 4]``: three quantiles of the change, and the slope, in the units of ``label``.  Quantiles that cross
    are sorted, which never increases the pinball loss (rearrangement, Chernozhukov et al. 2010).

    The table has one row per patient and week: ``Patient_Week`` (``<patient>_<week>``), ``FVC`` (the median, q50), ``Confidence``
    (q80 - q20, but at least 70, since the score does not distinguish smaller values), ``q20``, ``q50``, ``q80`` and
    ``FVC_measured`` (NaN where it was not measured), all in ml.  The challenge requires the first three columns.

    Args:
        split: ``"train"`` or ``"test"``, the table and folder to read.
        exclude: patients to leave out; they are counted and logged by name.
        weeks: weeks to predict for every patient, on the scale of the table (the challenge requires ``range(-12, 134)``);
            default: the weeks at which the patient was measured after the baseline.

    Raises:
        ValueError: when ``weeks`` is empty, or one is not a whole number.

    Example:
        >>> item = {"patient": "ID1", "weeks": torch.tensor([4]), "fvc": torch.tensor([2510.0])}
        >>> OSICCohort().table([item], [torch.tensor([[2400.0, 2500.0, 2600.0]])])
          Patient_Week     FVC  Confidence     q20     q50     q80  FVC_measured
        0        ID1_4  2500.0       200.0  2400.0  2500.0  2600.0        2510.0
    """

    title = "FVC from baseline CT"
    channels = ("CT",)
    covariates = COVARIATES
    targets = ("fvc", "label")
    rows = "visits"
    intervals = ScaledIntervals(0.6, measured_fvc)  # between the quantiles 0.2 and 0.8
    higher_is_better = True
    scores_caption = (
        "Modified Laplace log-likelihood (higher is better, at most -4.595), pinball loss in ml (lower is better), and the share "
        "of measurements in their 20 to 80 % interval (0.6 expected)."
    )
    loss_caption = "Training loss; FVC changes are in units of 300 ml."

    def __init__(self, split: str = "train", exclude: Collection[str] = (), weeks: Iterable[int] | None = None) -> None:
        self.split = split
        self.exclude = exclude
        self.weeks = None if weeks is None else [_whole(week) for week in weeks]
        if self.weeks == []:
            raise ValueError("weeks is empty: give the weeks to predict, or None for the measured ones.")

    def read(self, dataset_dir: str | Path) -> list[dict[str, Any]]:
        table, scans = Path(dataset_dir) / f"{self.split}.csv", Path(dataset_dir) / self.split
        lines = read_lines(table, COLUMNS)
        folders = scan_folders(scans)
        excluded = known_exclusions(self.exclude, set(lines["Patient"]) | folders, table)
        visits = check_visits(table, lines[~lines["Patient"].isin(excluded)])
        check_scans(table, scans, set(visits["Patient"]), folders - set(excluded))
        by_patient = dict(list(visits.groupby("Patient", sort=True)))
        alone = [patient for patient, own in by_patient.items() if len(own) == 1]
        if self.weeks is None and alone:
            raise ValueError(
                f"{table}: {len(alone)} patients have a baseline visit but none to predict: {', '.join(alone)}. "
                "Name the weeks to predict with weeks=[...], or leave these patients out with exclude=[...]."
            )
        return [patient_item(scans / patient, own, self.weeks) for patient, own in by_patient.items()]

    def in_units(self, data: Mapping[str, Any]) -> dict[str, Any]:
        pred: Tensor = data["pred"]
        rows = torch.tensor([len(weeks) for weeks in data["weeks"]])
        baseline = torch.tensor(data["baseline_fvc"], dtype=pred.dtype).repeat_interleave(rows).to(pred.device)
        quantiles = baseline[:, None] + CHANGE_UNIT * pred[:, :-1].sort(1).values
        return {**data, "pred": quantiles, "label": baseline + CHANGE_UNIT * data["label"][:, 0]}

    def key_metric(self) -> dict[str, Metric]:
        metric = LaplaceLogLikelihood()
        return {"score": IgniteMetricHandler(metric, output_transform=from_engine(["pred", "label"]), save_details=False)}

    def table(self, patients: Sequence[Mapping[str, Any]], outputs: Sequence[Tensor]) -> pd.DataFrame:
        if len(patients) != len(outputs):
            raise ValueError(f"got predictions for {len(outputs)} patients, but a cohort of {len(patients)}.")
        tables = []
        for item, quantiles in zip(patients, outputs, strict=True):
            if quantiles.shape != (len(item["weeks"]), len(QUANTILES)):
                raise ValueError(
                    f"patient {item['patient']}: predictions must be [{len(item['weeks'])} weeks, 3 quantiles], "
                    f"got {list(quantiles.shape)}."
                )
            low, median, high = quantiles.detach().cpu().double().numpy().T
            columns = {
                "Patient_Week": [f"{item['patient']}_{week}" for week in item["weeks"].tolist()],
                "FVC": median,
                "Confidence": np.maximum(high - low, SMALLEST_SIGMA),
                "q20": low,
                "q50": median,
                "q80": high,
                "FVC_measured": item["fvc"].double().numpy(),
            }
            tables.append(pd.DataFrame(columns))
        return pd.concat(tables, ignore_index=True)

    def scores(self, table: pd.DataFrame) -> dict[str, float]:
        # column by column, because whole tables are slow, and intervals need thousands of scores
        fvc, *quantiles = (torch.tensor(table[name].to_numpy(float)) for name in ("FVC_measured", "q20", "q50", "q80"))
        measured = ~fvc.isnan()
        fvc, predicted = fvc[measured], torch.stack(quantiles, 1)[measured]
        return {
            "score": laplace_log_likelihood(fvc, predicted).mean().item(),
            "pinball_loss": PinballLoss(QUANTILES)(predicted, fvc).item(),
            "coverage": ((predicted[:, 0] <= fvc) & (fvc <= predicted[:, 2])).double().mean().item(),
        }

    def counts(self, table: pd.DataFrame) -> dict[str, int]:
        return {"visits": int(table["FVC_measured"].notna().sum())}

    def baselines(self) -> Sequence[Baseline]:
        return [FVCRidge(), BaselineAndMeanSlope(), ConstantFVC()]

    def groups(self, patients: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
        years, _, _, percent, age, male, former, current = torch.cat([item["covariates"] for item in patients]).double().T.numpy()
        weeks, percent, age = (values.round(3) for values in (52 * years, 20 * percent + 78, 7 * age + 67))  # were float32
        return pd.DataFrame(
            {
                "weeks since baseline": pd.cut(weeks, [-np.inf, 26, 52, np.inf], labels=["up to 26", "27 to 52", "above 52"]),
                "baseline, % of normal FVC": pd.cut(percent, [0, 70, np.inf], labels=["up to 70", "above 70"]),
                "age": pd.cut(age, [0, 65, np.inf], labels=["up to 65", "above 65"]),
                "sex": np.where(male > 0, "male", "female"),
                "smoking": np.select([former > 0, current > 0], ["ex-smoker", "currently smokes"], "never smoked"),
            }
        )

    def report_evaluation(
        self, report: Report, patients: Sequence[Mapping[str, Any]], tables: Mapping[str, pd.DataFrame]
    ) -> None:
        (_, own), *rivals = ((name, with_visits(patients, table)) for name, table in tables.items())
        caption = (
            "The FVC itself is known quite well from the baseline visit alone; only the change since then shows what a "
            "prediction is worth. R² is 1 for a perfect prediction, and 0 for one that is the same for all visits."
        )
        figures = {"FVC": predicted_against_measured(own), "change": predicted_against_measured(changes(own), "change of FVC")}
        report.add_figures("Predicted against measured", figures, caption)
        caption = (
            "A well calibrated prediction lies on the line: 20 % of the measurements below its 20 % quantile. "
            "Interval by resampling patients."
        )
        report.add_figure("Calibration", fvc_calibration(own), caption)
        report.add_table("Patients", patients_table(own), PATIENTS_CAPTION)
        caption = (
            "Median, 60 % interval (see Calibrated intervals) and what was measured. The baseline visit is known to all models"
        )
        caption += f"; {rivals[0][0]} is the best of those that do not see the scan." if rivals else "."
        _add_curves(report, own, caption, rivals[0] if rivals else None)

    def report_predictions(self, report: Report, patients: Sequence[Mapping[str, Any]], table: pd.DataFrame) -> None:
        own = with_visits(patients, table)
        report.add_table("Patients", patients_table(own), PATIENTS_CAPTION)
        _add_curves(report, own, "Median and 60 % interval (see Calibrated intervals). The baseline visit is known to the model.")

    def explained(self, patient: Mapping[str, Any]) -> Explained:
        after_a_year = patient["covariates"][:1].clone()
        after_a_year[:, 0] = 1
        return Explained("change of FVC in the first year (ml)", after_a_year, QUANTILES.index(0.5), CHANGE_UNIT)


def _add_curves(report: Report, table: pd.DataFrame, caption: str, rival: tuple[str, pd.DataFrame] | None = None) -> None:
    """Add the figures of the first patients."""
    figures, patients = fvc_curves(table, rival), table["Patient"].nunique()
    shown = f"The first {len(figures)} of {patients} patients. " if len(figures) < patients else ""
    report.add_figures("FVC of each patient", figures, shown + caption)


def _whole(week: int) -> int:
    try:
        number = operator.index(week)
    except TypeError as error:
        raise ValueError(f"weeks has {week!r}: weeks to predict are whole numbers.") from error
    if abs(number) > LONGEST:
        raise ValueError(f"weeks has {week!r}: it is expected to lie between {-LONGEST} and {LONGEST}.")
    return number
