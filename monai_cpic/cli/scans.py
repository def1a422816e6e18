"""Scans that are named on the command line, as the table that the bundle of any cohort takes."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_cpic.staging import write_whole

__all__ = ["is_table", "scans_in", "write_scan_table"]


def is_table(path: Path) -> bool:
    """Whether a file is a table of scans."""
    from monai_cpic.cohorts.table.lines import SUFFIXES

    return path.suffix.lower() in SUFFIXES


def scans_in(path: Path) -> Iterator[Path]:
    """The scans in a folder and those below it; a scan that is a folder, or a file, is the only one.

    A folder of files that no reader knows, and without folders, is a DICOM series.
    """
    from monai_cpic.data.readers import READERS
    from monai_cpic.data.readers.dicom import DICOM

    def known(place: Path) -> bool:
        return any(reader.matches(str(place)) for reader in READERS if reader is not DICOM)

    inside = sorted(entry for entry in path.iterdir() if not entry.name.startswith(".")) if path.is_dir() else []
    below = [entry for entry in inside if entry.is_dir() or known(entry)]
    if known(path) or not below:
        yield path
        return
    for entry in below:
        yield from scans_in(entry)


def write_scan_table(cohort: Mapping[str, Any], paths: Sequence[Path], folder: Path) -> Path:
    """Write ``scans.csv``, with a row for each scan, named by its path.

    Args:
        cohort: settings of a :class:`~monai_cpic.cohorts.TableCohort`, which know the names of the columns.
        paths: scans, and folders of scans.
        folder: of the table.

    Raises:
        ValueError: if a prediction needs more than one scan of a patient, or anything else.
    """
    covariates = [column["name"] for kind in cohort["covariates"].values() for column in kind]
    columns = [*cohort["images"], *covariates]
    if len(columns) > 1:
        raise ValueError(f"this model predicts from more than one scan: give a table with the columns {', '.join(columns)}")
    with write_whole(folder / "scans.csv") as unfinished, unfinished.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow([cohort["patient"] or "scan", *cohort["images"]])
        table.writerows([str(scan), str(scan.resolve())] for path in paths for scan in scans_in(path))
    return folder / "scans.csv"
