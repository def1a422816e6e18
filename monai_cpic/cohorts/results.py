"""The files of a run's results, which must not outlive the model that they are of."""

from __future__ import annotations

from pathlib import Path

__all__ = ["remove_results"]

RESULTS = ("metrics.json", "predictions.csv", "baselines.csv", "report.html")


def remove_results(output_dir: str | Path) -> None:
    """Remove the results of an earlier run, before its model is replaced; without any, nothing happens.

    Args:
        output_dir: folder of the run.
    """
    for name in RESULTS:
        (Path(output_dir) / name).unlink(missing_ok=True)
