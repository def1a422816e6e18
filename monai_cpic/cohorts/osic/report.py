"""What a run of the OSIC workflow leaves behind: metrics.json, predictions.csv and report.html."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from monai_cpic.cohorts.osic.cohort import constant_prediction, predictions_table
from monai_cpic.cohorts.osic.figures import fvc_curves, predicted_against_measured
from monai_cpic.cohorts.osic.predictions import FVCPredictions
from monai_cpic.cohorts.run_files import add_sampled_voxels, write_run
from monai_cpic.handlers import History
from monai_cpic.losses import PinballLoss
from monai_cpic.metrics import laplace_log_likelihood
from monai_cpic.networks import CPICNet, VolumeRegressor
from monai_cpic.reporting.learning_curves import learning_curves
from monai_cpic.reporting.report import Report
from monai_cpic.reporting.sampling_figures import sample_positions

__all__ = ["scores", "write_evaluation", "write_inference"]

QUANTILES = ["q20", "q50", "q80"]


def scores(table: pd.DataFrame) -> dict[str, float]:
    """The challenge's score and the pinball loss (ml) over the rows that have a measurement."""
    measured = table.dropna(subset="FVC_measured")
    fvc = torch.tensor(measured["FVC_measured"].to_numpy())
    predicted = torch.tensor(measured[QUANTILES].to_numpy())
    return {
        "score": laplace_log_likelihood(fvc, predicted).mean().item(),
        "pinball_loss": PinballLoss((0.2, 0.5, 0.8))(predicted, fvc).item(),
    }


def write_evaluation(
    output_dir: str | Path,
    training: Sequence[dict[str, Any]],
    predictions: FVCPredictions,
    covariates_only: FVCPredictions,
    network: VolumeRegressor,
    history: History,
) -> dict[str, Any]:
    """Compare the network with the covariates-only model and a constant on the evaluated patients, and write the run's files.

    Args:
        output_dir: an existing or new folder.
        training: the training patients, of which the constant knows the quantiles.
        predictions: of the network.
        covariates_only: of the model that does not see the scan, for the same patients.
        network: for the picture of where it looked, if it chose.
        history: the learning curve; empty if the run did not train.

    Returns:
        the metrics, as written to metrics.json.
    """
    patients = predictions.items
    tables = {
        "C-PIC": predictions.table(),
        "covariates only": covariates_only.table(),
        "constant": predictions_table(patients, constant_prediction(training, patients)),
    }
    comparison = {name: scores(table) for name, table in tables.items()}
    table = tables["C-PIC"]
    metrics = {
        "training_patients": len(training),
        "evaluated_patients": len(patients),
        "evaluated_visits": int(table["FVC_measured"].notna().sum()),
        **{name.replace(" ", "_").replace("-", "_").lower(): values for name, values in comparison.items()},
    }
    report = Report("FVC from baseline CT", f"{len(training)} training patients, {len(patients)} evaluated")
    report.add_table(
        "Score",
        [{"model": name, **values} for name, values in comparison.items()],
        "Modified Laplace log-likelihood (higher is better, at most -4.595) and pinball loss in ml (lower is better).",
    )
    if history.rows:
        report.add_figure("Learning curves", learning_curves(history.rows), "Training loss, of changes in units of 300 ml.")
    report.add_figure("Predicted against measured", predicted_against_measured(table))
    _finish(report, output_dir, table, metrics, predictions, network)
    return metrics


def write_inference(output_dir: str | Path, predictions: FVCPredictions, network: VolumeRegressor) -> dict[str, Any]:
    """Write the files of a run that only predicts; metrics.json then says how much was predicted."""
    table = predictions.table()
    metrics: dict[str, Any] = {"predicted_patients": len(predictions.items), "predicted_visits": len(table)}
    report = Report("FVC from baseline CT", f"{len(predictions.items)} patients predicted")
    _finish(report, output_dir, table, metrics, predictions, network)
    return metrics


def _finish(
    report: Report,
    output_dir: str | Path,
    table: pd.DataFrame,
    metrics: dict[str, Any],
    predictions: FVCPredictions,
    network: VolumeRegressor,
) -> None:
    """Patients' curves and sampled voxels, then the files."""
    caption = "Median and 20 to 80 % interval, and what was measured."
    report.add_figure("FVC of each patient", fvc_curves(_by_patient(table)), caption)
    if isinstance(network, CPICNet):  # other networks look everywhere
        add_sampled_voxels(report, predictions.items, network, sample_positions)
    write_run(output_dir, table, metrics, report)


def _by_patient(table: pd.DataFrame) -> pd.DataFrame:
    """The table with patient and week apart."""
    names = table["Patient_Week"].str.rsplit("_", n=1, expand=True)
    return table.assign(Patient=names[0], Weeks=names[1].astype(int))
