"""A table of the paper as Markdown, with our figures and the paper's in brackets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import Any

from monai_cpic.experiments.tables import Figures, Row, Table
from monai_cpic.reporting.metrics_file import model_key

__all__ = ["markdown", "spread"]

BASELINE = "ResNet-34"


def markdown(table: Table, found: Mapping[str, Sequence[Mapping[str, Any]]], grid: Sequence[int]) -> str:
    """The rows of a table that have results, as Markdown, with the paper's figures in brackets.

    Models that do not see the scans are trained with every run; those of the last row with results are printed.  Times and memory
    are also printed relative to those of the ResNet at native resolution, which makes machines comparable.

    Args:
        table: the table.
        found: results of the jobs of each row.
        grid: the grid at native resolution.
    """
    ratio = "× ResNet"
    headings = ["model", "grid", table.label, "s per epoch", ratio, "s per prediction", ratio, "GiB", ratio, "parameters"]
    lines = [headings, ["---"] * len(headings)]
    baseline = _mean(found[BASELINE]) if BASELINE in found else Figures()
    paper_baseline = next((row.paper for row in table.rows if row.name == BASELINE), None) or Figures()
    for row in table.rows:
        if row.name in found:
            lines.append(_line(table, row, found[row.name], grid, baseline, paper_baseline))
    last = next((found[row.name] for row in reversed(table.rows) if row.name in found), [])  # the settings of a row affect them
    for name in table.references:
        values = [result["metrics"][name][table.metric] for result in last]
        if values:
            lines.append([name.replace("_", " "), "", spread(values), *[""] * (len(headings) - 3)])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _line(
    table: Table, row: Row, results: Sequence[Mapping[str, Any]], grid: Sequence[int], baseline: Figures, paper_baseline: Figures
) -> list[str]:
    ours, paper = _mean(results), row.paper or Figures()
    sizes = "×".join(str(size * (2 if row.doubled else 1)) for size in grid)
    return [
        row.name,
        sizes,
        spread([_score(result["metrics"], table.metric) for result in results]) + _paper(paper.metric, ".2f"),
        _text(ours.epoch, ".1f") + _paper(paper.epoch, ".0f"),
        _ratio(ours.epoch, baseline.epoch) + _paper_ratio(paper.epoch, paper_baseline.epoch),
        _text(ours.prediction, ".2f") + _paper(paper.prediction, ".1f"),
        _ratio(ours.prediction, baseline.prediction) + _paper_ratio(paper.prediction, paper_baseline.prediction),
        _text(ours.memory, ".2f") + _paper(paper.memory, ".1f"),
        _ratio(ours.memory, baseline.memory) + _paper_ratio(paper.memory, paper_baseline.memory),
        _text(ours.parameters, ",.0f") + _paper(paper.parameters, ",.0f"),
    ]


def _score(metrics: Mapping[str, Any], name: str) -> float | None:
    """A score of the trained network; None if it is not defined."""
    return metrics[model_key(metrics["network"])][name]


def _mean(results: Sequence[Mapping[str, Any]]) -> Figures:
    keys = ("epoch", "prediction", "memory", "parameters")
    return Figures(**{key: mean(result[key] for result in results) for key in keys})


def spread(values: Sequence[float | None]) -> str:
    """Mean ± standard deviation of the runs in which the metric is defined."""
    defined = [value for value in values if value is not None]
    if not defined:
        return "not defined"
    return f"{mean(defined):.2f}" + (f" ± {stdev(defined):.2f}" if len(defined) > 1 else "")


def _text(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _paper(value: float | None, form: str) -> str:
    return "" if value is None else f" ({value:{form}})"


def _ratio(value: float | None, unit: float | None) -> str:
    return f"{value / unit:.2g}" if value and unit else ""


def _paper_ratio(value: float | None, unit: float | None) -> str:
    return f" ({value / unit:.2g})" if value and unit else ""
