"""The comparison from start to end: tables of the cohorts, trainings, table and figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import pandas as pd

from monai_cpic.experiments.real.cohorts import RealCohort
from monai_cpic.experiments.real.figure import patients_figure, scores_figure
from monai_cpic.experiments.real.places import places, table_of
from monai_cpic.experiments.real.printing import scores_table
from monai_cpic.experiments.real.radiomics import radiomics_predictions
from monai_cpic.experiments.real.scores import scores
from monai_cpic.experiments.real.trials import predictions, trials
from monai_cpic.experiments.runs import Job, run_jobs
from monai_cpic.experiments.tables import Row
from monai_cpic.staging import write_whole

__all__ = ["compare_methods"]


def compare_methods(
    data_dir: str | Path,
    output_dir: str | Path,
    bundle_root: str | Path,
    executor: Executor,
    cohorts: Sequence[RealCohort],
    methods: Sequence[Row],
    folds: Sequence[int],
    *,
    radiomics: bool = True,
    seeds: int = 1,
    patients: int | None = None,
    overrides: Mapping[str, Any] | None = None,
    seconds: float | None = None,
    trained_on: Sequence[int] = (),
    resume: bool = False,
) -> tuple[str, list[Job]]:
    """Train all methods on all folds of all cohorts, and write ``table.md`` and ``figure.png``.

    Of several numbers of training patients there is also a figure of learning curves, ``patients.png``.

    Args:
        data_dir: the folder of the cohorts.
        output_dir: a new folder, or that of a killed run.
        bundle_root: folder of the bundle ``volume_regression``.
        executor: what runs the trainings.
        cohorts: the cohorts.
        methods: the methods that are trained.
        folds: which of the five folds are held out, one after the other.
        radiomics: whether ridge regression on radiomics is compared, too; it comes first.
        seeds: number of trainings of each method, target and fold.
        patients: of each target, the first so many; None: all.
        overrides: settings of the bundle for all trainings; those of a method take precedence.
        seconds: of processor time for the steps of each training; see :func:`~monai_cpic.experiments.real.trials.trials`.
        trained_on: numbers of training patients, for trainings beside those of all.
        resume: keep results that are there.

    Returns:
        The table as Markdown, and the trainings that failed.
    """
    output = Path(output_dir).absolute()
    for cohort in cohorts:
        for target in cohort.targets:
            cohort.write_table(data_dir, target, table_of(cohort, target, output), patients)
    at = places(cohorts, output, folds, seeds, trained_on)
    every = trials(at, methods, output, overrides, seconds)
    simple = radiomics_predictions(at, output, executor) if radiomics else pd.DataFrame()
    failed = run_jobs([trial.job for trial in every], bundle_root, executor, resume)
    lines = scores(pd.concat([predictions(every), simple], ignore_index=True), cohorts)
    text = scores_table(lines)
    with write_whole(output / "table.md") as unfinished:
        unfinished.write_text(text + "\n", encoding="utf-8")
    figures = {"figure.png": scores_figure(lines)}
    if any(line.trained_on for line in lines):
        figures["patients.png"] = patients_figure(lines)
    for name, figure in figures.items():
        with write_whole(output / name) as unfinished:
            figure.savefig(unfinished, dpi=150)
    return text, failed
