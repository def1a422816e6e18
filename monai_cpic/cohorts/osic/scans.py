"""The scan folders of the OSIC layout, one for each patient of the table."""

from __future__ import annotations

from pathlib import Path

__all__ = ["check_scans", "scan_folders"]


def scan_folders(scans: Path) -> set[str]:
    """Names of the folders of DICOM files.

    Raises:
        FileNotFoundError: when ``scans`` does not exist.
    """
    if not scans.is_dir():
        raise FileNotFoundError(f"{scans} does not exist: it must hold one folder of DICOM files per patient.")
    return {folder.name for folder in scans.iterdir() if folder.is_dir()}


def check_scans(table: Path, scans: Path, patients: set[str], folders: set[str]) -> None:
    """Check that every patient of the table has a scan folder with files, and that every folder has a line in the table.

    Args:
        table: path of the table, for messages.
        scans: path that contains the folders.
        patients: names in the table.
        folders: names of :func:`scan_folders`, all or some.

    Raises:
        ValueError: when a scan or a line is missing; the message names all of them.
    """
    empty = {folder for folder in patients & folders if not any((scans / folder).iterdir())}
    problems = [
        *(f"patient {patient} of {table} has no folder in {scans}" for patient in sorted(patients - folders)),
        *(f"patient {patient}: {scans / patient} is empty" for patient in sorted(empty)),
        *(f"{scans / folder} has no line in {table}" for folder in sorted(folders - patients)),
    ]
    if problems:
        raise ValueError(
            f"{len(problems)} patients lack a scan or a line in the table. Complete them, or leave them out with "
            "exclude=[...]:\n  " + "\n  ".join(problems)
        )
