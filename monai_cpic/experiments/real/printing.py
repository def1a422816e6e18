"""The table of a comparison as Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence

from monai_cpic.cohorts.bootstrap import CONFIDENCE, Estimate
from monai_cpic.experiments.printing import spread
from monai_cpic.experiments.real.scores import Score

__all__ = ["LABELS", "scores_table"]

LABELS = {"r": "r", "r2": "R²"}


def scores_table(lines: Sequence[Score]) -> str:
    """A line for each cohort, target, number of training patients and method.

    Args:
        lines: of :func:`~monai_cpic.experiments.real.scores.scores`.
    """
    percent = f"{100 * CONFIDENCE:.0f} %"
    headings = ["cohort", "target", "trained on", "method", "patients", "score", f"out of fold ({percent})", "trainings"]
    headings += [f"minus ours ({percent})", "processor s per training"]
    rows = [headings, ["---"] * len(headings)]
    for line in lines:
        rows.append(
            [
                line.cohort.name,
                line.target,
                str(line.trained_on or "all"),
                line.method,
                str(line.patients),
                LABELS[line.cohort.score],
                _with_interval(line.pooled, ".3f"),
                spread([None if math.isnan(value) else value for value in line.folds.tolist()]),
                "" if line.difference is None else _with_interval(line.difference, "+.3f"),
                "" if math.isnan(line.seconds) else f"{line.seconds:.0f}",
            ]
        )
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _with_interval(estimate: Estimate, form: str) -> str:
    if math.isnan(estimate.value):
        return "not defined"
    interval = "" if math.isnan(estimate.low) else f" ({estimate.low:{form}} to {estimate.high:{form}})"
    return f"{estimate.value:{form}}{interval}"
