"""The files that a run writes, for all cohorts: metrics.json, predictions.csv, baselines.csv and report.html."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from ignite.utils import setup_logger
from torch import Tensor

from monai_cpic.cohorts.base import Cohort
from monai_cpic.cohorts.baselines import predictions_of_baselines
from monai_cpic.cohorts.bootstrap import CONFIDENCE
from monai_cpic.cohorts.comparison import compare, scores_by_group
from monai_cpic.cohorts.csv_files import write_table
from monai_cpic.cohorts.explanations import add_scans, write_maps
from monai_cpic.cohorts.interval_report import report_coverage, report_intervals
from monai_cpic.cohorts.predictions import PatientPredictions, number_of_patients
from monai_cpic.cohorts.provenance import Provenance
from monai_cpic.handlers import History, ScreenScans
from monai_cpic.networks import VolumeRegressor
from monai_cpic.reporting.learning_curves import learning_curves
from monai_cpic.reporting.metrics_file import write_metrics
from monai_cpic.reporting.report import Report

__all__ = ["write_comparison", "write_evaluation", "write_inference"]

# ignite's, as are those of the engines: it shows what it is told where nobody has configured logging
logger = setup_logger(__name__)


def write_evaluation(
    output_dir: str | Path,
    cohort: Cohort,
    training: Sequence[Mapping[str, Any]],
    predictions: PatientPredictions,
    covariates_only: PatientPredictions,
    network: VolumeRegressor,
    history: History,
    provenance: Provenance,
) -> dict[str, Any]:
    """Compare the network with models that do not see the scans on the evaluated patients, and write the run's files.

    Args:
        output_dir: an existing or new folder.
        cohort: the cohort.
        training: the training patients, to whom the cohort's baselines are fitted.
        predictions: predictions of the network.
        covariates_only: predictions of the model on covariates only, for the same patients.
        network: the network, for its name and the voxels that it encodes.
        history: the learning curve; empty if the run did not train.
        provenance: of the predictions.

    Returns:
        The metrics, as written to metrics.json.  ``"network"`` is the name of the network.  The scores of each model
        (:meth:`~monai_cpic.cohorts.Cohort.scores`) and their intervals have a key derived from the model's name
        (:func:`~monai_cpic.reporting.metrics_file.model_key`), and so has the difference to the best baseline,
        ``"c_pic_minus_best_baseline"`` for C-PIC.  ``"intervals"`` is the coverage of the network's calibrated intervals
        (:class:`~monai_cpic.cohorts.coverage.Coverage`); None if the patients are too few.  The last line of the log says by how
        much the network is better or worse.
    """
    baselines = predictions_of_baselines(cohort.baselines(), training, predictions.items, cohort.targets)
    counts = {"training_patients": number_of_patients(training)}
    return write_comparison(output_dir, cohort, predictions, covariates_only, baselines, network, history, provenance, counts)


def write_comparison(
    output_dir: str | Path,
    cohort: Cohort,
    predictions: PatientPredictions,
    covariates_only: PatientPredictions,
    baselines: Mapping[str, Sequence[Tensor]],
    network: VolumeRegressor,
    history: History,
    provenance: Provenance,
    counts: Mapping[str, int],
) -> dict[str, Any]:
    """Compare a network with given predictions of other models, and write the run's files.

    Models are compared as they were trained, since each chose its intervals for its score.  The coverage of the network's
    calibrated intervals is a figure of its own.

    Args:
        output_dir: an existing or new folder.
        cohort: the cohort.
        predictions: predictions of the network, for patients who were not trained on.
        covariates_only: predictions of the model on covariates only, for the same patients.
        baselines: for each baseline, by its name, its predictions of the same patients.
        network: the network, for its name and the voxels that it encodes.
        history: the learning curve; may be empty.
        provenance: of the predictions.
        counts: what was trained on, by name, for metrics.json and the head of the report.

    Returns:
        The metrics, as :func:`write_evaluation`.
    """
    patients = predictions.items
    outputs = {network.name: predictions.outputs, "covariates only": covariates_only.outputs}
    if taken := outputs.keys() & baselines.keys():
        raise ValueError(f"a baseline has the name of another model: {', '.join(taken)}; give it a name of its own.")
    comparison = compare(cohort, patients, {**outputs, **baselines}, network.name)
    table = comparison.tables[network.name]
    numbers = {**counts, "evaluated_patients": number_of_patients(patients)}
    metrics = {
        "network": network.name,
        **numbers,
        **{f"evaluated_{name}": count for name, count in cohort.counts(table).items()},
        **comparison.metrics(),
    }
    report = _report(cohort, network, provenance, ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in numbers.items()))
    report.add_text("Comparison", comparison.sentence())
    caption = f"{cohort.scores_caption} In brackets: {100 * CONFIDENCE:.0f} % interval, by resampling patients."
    report.add_table("Scores", comparison.rows(), caption)
    groups = cohort.groups(patients)
    if len(groups.columns):
        caption = f"Of {network.name}; small groups differ by chance."
        report.add_table("Scores by group", scores_by_group(cohort, table, groups), caption)
    metrics |= report_coverage(report, cohort, patients, predictions.outputs, table)
    if history.rows:
        report.add_figure("Learning curves", learning_curves(history.rows), cohort.loss_caption)
    best = comparison.best_baseline
    shown = [network.name] if best is None else [network.name, best]
    cohort.report_evaluation(report, patients, {name: comparison.tables[name] for name in shown})
    _write_run(output_dir, cohort, predictions, network, table, metrics, report)
    others = {name: other for name, other in comparison.tables.items() if name != network.name}
    write_table(Path(output_dir) / "baselines.csv", pd.concat(others, names=["model"]).reset_index("model"))
    _say_where(output_dir)
    logger.info(comparison.sentence())
    return metrics


def write_inference(
    output_dir: str | Path,
    cohort: Cohort,
    predictions: PatientPredictions,
    network: VolumeRegressor,
    screening: ScreenScans,
    provenance: Provenance,
    calibration: Mapping[str, float] | None = None,
    maps: bool = False,
) -> dict[str, Any]:
    """Write the files of a run that only predicts; metrics.json then contains the numbers of predictions and of odd scans.

    The table of predictions also has the columns ``warning``: what is odd about the patient's scan, empty if nothing is,
    and, if there is a calibration, ``low`` and ``high``, the ends of the calibrated intervals.

    Args:
        output_dir: an existing or new folder.
        cohort: the cohort.
        predictions: predictions of the network.
        network: the network, for its name and the voxels that it encodes.
        screening: what is odd about the scans.
        provenance: of the predictions.
        calibration: of the intervals, as the model file holds it; None if it holds none.
        maps: write what places contribute to the prediction of each patient to ``maps/<patient>.nii.gz``, see
            :func:`~monai_cpic.reporting.contribution_map.write_contribution_map`.

    Returns:
        The metrics, as written to metrics.json.

    Raises:
        ValueError: if maps are asked for of a network of which they are not known.
    """
    patients = predictions.items
    table = cohort.table(patients, predictions.outputs)
    table["warning"] = np.repeat([*map("; ".join, screening.warnings)], [len(rows) for rows in predictions.outputs])
    rows = [
        {"patient": item["patient"], "warning": clause}
        for item, clauses in zip(patients, screening.warnings, strict=True)
        for clause in clauses
    ]
    odd = list(dict.fromkeys(row["patient"] for row in rows))
    count = number_of_patients(patients)
    metrics = {
        "network": network.name,
        "predicted_patients": count,
        f"predicted_{cohort.rows}": len(table),
        "patients_with_a_warning": len(odd),
    }
    report = _report(cohort, network, provenance, f"{count} predicted")
    if odd:
        report.add_table("Scans unlike those of the training", rows, "Do not rely on predictions from these scans.")
        logger.warning("scans of %d of %d patients are unlike those of the training: %s", len(odd), count, ", ".join(odd))
    else:
        report.add_text("Scans", "All scans are like those of the training in geometry, intensities and features.")
    report_intervals(report, cohort, predictions.outputs, table, calibration)
    cohort.report_predictions(report, patients, table)
    _write_run(output_dir, cohort, predictions, network, table, metrics, report)
    if maps:
        write_maps(Path(output_dir) / "maps", cohort, network, patients)
    _say_where(output_dir)
    return metrics


def _report(cohort: Cohort, network: VolumeRegressor, provenance: Provenance, patients: str) -> Report:
    """An empty report that says where its predictions come from; ``patients`` are their numbers in words."""
    subtitle = f"Predicted by {network.name} from {' and '.join(cohort.channels)}"
    return Report(cohort.title, subtitle, provenance.notices(), provenance.facts(patients))


def _write_run(
    output_dir: str | Path,
    cohort: Cohort,
    predictions: PatientPredictions,
    network: VolumeRegressor,
    table: pd.DataFrame,
    metrics: Mapping[str, Any],
    report: Report,
) -> None:
    """Add figures of the encoded voxels of the first scans to the report, and write the three files."""
    add_scans(report, cohort, network, predictions.items)
    output = Path(output_dir)
    write_table(output / "predictions.csv", table)
    write_metrics(output / "metrics.json", metrics)
    report.write(output / "report.html")


def _say_where(output_dir: str | Path) -> None:
    """Name the files of the run in the log."""
    folder = Path(output_dir).resolve()
    names = sorted(path.name for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    logger.info("%s holds %s.", folder, ", ".join(names))
