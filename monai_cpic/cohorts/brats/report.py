"""What a run of the BraTS workflow leaves behind: metrics.json, predictions.csv and report.html."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from monai_cpic.cohorts.brats.cohort import COVARIATES, predictions_table
from monai_cpic.cohorts.brats.figures import predicted_against_true_days
from monai_cpic.cohorts.brats.predictions import SurvivalPredictions, ridge_prediction
from monai_cpic.cohorts.run_files import add_sampled_voxels, write_run
from monai_cpic.handlers import History
from monai_cpic.metrics import concordance_index, survival_classes, survival_scores
from monai_cpic.networks import CPICNet, VolumeRegressor
from monai_cpic.reporting.learning_curves import learning_curves
from monai_cpic.reporting.report import Report
from monai_cpic.reporting.sampling_figures import channel_positions

__all__ = ["class_table", "scores", "write_evaluation", "write_inference"]

CLASSES = ("less than 10 months", "10 to 15 months", "more than 15 months")
TITLE = "Survival from brain MRI"


def scores(table: pd.DataFrame) -> dict[str, float]:
    """The scores of a table of predictions; NaN where no patient counts.

    ``rmse_days`` is over all who died, ``c_index`` over all with a known survival or lower bound; the challenge's own
    (:func:`~monai_cpic.metrics.survival_scores`) are over those of gross total resection who died.
    """
    known = table.dropna(subset="Survival_days_true")
    dead = known[known["died"].astype(bool)]
    resected = dead[dead["Extent_of_Resection"] == "GTR"]
    return {
        "rmse_days": survival_scores(*_columns(dead))["MSE"] ** 0.5,
        "c_index": concordance_index(*_columns(known), torch.tensor(known["died"].to_numpy(bool))),
        **survival_scores(*_columns(resected)),
    }


def class_table(table: pd.DataFrame) -> pd.DataFrame:
    """How the patients of each class who died were classified.

    Returns:
        A row for each true class: ``survival``, ``patients``, the number predicted in each class, and ``accuracy`` (NaN without
        patients).
    """
    dead = table.dropna(subset="Survival_days_true")
    predicted, true = (survival_classes(days) for days in _columns(dead[dead["died"].astype(bool)]))
    rows = []
    for number, name in enumerate(CLASSES):
        counts = torch.bincount(predicted[true == number], minlength=len(CLASSES)).tolist()
        total = sum(counts)
        rows.append(
            {
                "survival": name,
                "patients": total,
                **{f"predicted {other}": count for other, count in zip(CLASSES, counts, strict=True)},
                "accuracy": counts[number] / total if total else float("nan"),
            }
        )
    return pd.DataFrame(rows)


def write_evaluation(
    output_dir: str | Path,
    training: Sequence[dict[str, Any]],
    predictions: SurvivalPredictions,
    covariates_only: SurvivalPredictions,
    network: VolumeRegressor,
    history: History,
    channels: Sequence[str],
) -> dict[str, Any]:
    """Compare the network with models that do not see the scans on the evaluated patients, and write the run's files.

    Args:
        output_dir: an existing or new folder.
        training: the training patients, from whom the simple models learn.
        predictions: of the network.
        covariates_only: of the head on age and resection only, for the same patients.
        network: for the picture of where it looked, if it chose.
        history: the learning curve; empty if the run did not train.
        channels: names of the channels.

    Returns:
        the metrics, as written to metrics.json.
    """
    patients = predictions.items
    ridges = {"ridge on age and resection": range(len(COVARIATES)), "ridge on age": [0], "mean": []}
    tables = {"C-PIC": predictions.table(), "covariates only": covariates_only.table()}
    for name, columns in ridges.items():
        tables[name] = predictions_table(patients, ridge_prediction(training, patients, list(columns)).tolist())
    comparison = {name: scores(table) for name, table in tables.items()}
    table = tables["C-PIC"]
    died = table["died"].astype(bool)
    metrics = {
        "training_patients": len(training),
        "evaluated_patients": len(patients),
        "evaluated_deaths": int(died.sum()),
        "evaluated_deaths_after_gross_total_resection": int((died & (table["Extent_of_Resection"] == "GTR")).sum()),
        **{name.replace(" ", "_").replace("-", "_").lower(): values for name, values in comparison.items()},
    }
    report = Report(TITLE, f"{len(training)} training patients, {len(patients)} evaluated")
    report.add_table(
        "Scores",
        [{"model": name, **values} for name, values in comparison.items()],
        "RMSE over all who died, in days; concordance index over all patients; the rest, the challenge's scores, over patients "
        "of gross total resection who died, squared errors in days².",
    )
    report.add_table("Classes of survival", class_table(table), "Patients who died, as C-PIC classifies them; months of 30 days.")
    if history.rows:
        caption = "Training loss: squared error in units of five years; RMSE in days on the evaluated patients."
        report.add_figure("Learning curves", learning_curves(history.rows), caption)
    report.add_figure("Predicted against true", predicted_against_true_days(table), "Dotted: limits of the classes.")
    if isinstance(network, CPICNet):  # other networks look everywhere
        add_sampled_voxels(report, patients, network, partial(channel_positions, names=channels))
    write_run(output_dir, table, metrics, report)
    return metrics


def write_inference(
    output_dir: str | Path, predictions: SurvivalPredictions, network: VolumeRegressor, channels: Sequence[str]
) -> dict[str, Any]:
    """Write the files of a run that only predicts; metrics.json then says how much was predicted."""
    table = predictions.table()
    metrics: dict[str, Any] = {"predicted_patients": len(table)}
    report = Report(TITLE, f"{len(table)} patients predicted")
    columns = ["Brats20ID", "Survival_days", "Age", "Extent_of_Resection"]
    report.add_table("Predicted survival", table[columns], "In days; age in years.")
    if isinstance(network, CPICNet):
        add_sampled_voxels(report, predictions.items, network, partial(channel_positions, names=channels))
    write_run(output_dir, table, metrics, report)
    return metrics


def _columns(table: pd.DataFrame) -> tuple[torch.Tensor, torch.Tensor]:
    """Predicted and true survival."""
    predicted, true = (torch.tensor(table[name].to_numpy(float)) for name in ("Survival_days", "Survival_days_true"))
    return predicted, true
