"""The scans that a table names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from monai_cpic.cohorts.tables import listed
from monai_cpic.data import LazyVolume, open_volume
from monai_cpic.data.readers.base import is_url

__all__ = ["checked_scans", "scan_paths"]


def scan_paths(path: Path, lines: pd.DataFrame, columns: Sequence[str], known: bool = True) -> list[tuple[str, ...]]:
    """The scans of each line, one for each column, as paths or URLs.

    Args:
        path: of the table; paths in it are relative to its folder.
        lines: of the table.
        columns: that name the scans.
        known: whether all of them must exist, and be those of one patient each; those of new patients are opened one by one.

    Raises:
        FileNotFoundError: when one is not named, or does not exist; the message counts all of them and shows the first ten.
        ValueError: when two patients have the same scan.
    """
    scans, problems = [], []
    for line, row in lines.iterrows():
        named = [name if is_url(name) or not name else str(path.parent / name) for name in row[list(columns)]]
        scans.append(tuple(named))
        where = f"line {line}, patient {row.iloc[0]}: {{}}"
        problems += [where.format(f"{column} is empty") for column, name in zip(columns, named, strict=True) if not name]
        problems += [where.format(name) for name in named if known and name and not is_url(name) and not Path(name).exists()]
    if problems:
        raise FileNotFoundError(
            f"{path} names {len(problems)} scans that do not exist; paths are relative to its folder. Correct them, or leave the "
            f"patients out with exclude=[...]:\n  {listed(problems)}"
        )
    owners: dict[tuple[str, ...], str] = {}
    for (line, row), scan in zip(lines.iterrows(), scans, strict=True):
        owner = owners.setdefault(scan, row.iloc[0])
        if known and owner != row.iloc[0]:
            raise ValueError(
                f"{path}, line {line}: {scan[0]} is a scan of {owner} and {row.iloc[0]} by the column {lines.columns[0]!r}, so "
                "that a model would be tested on scans that it knows: name the column of the patients (--patient, or "
                "patient_column)"
            )
    return scans


def checked_scans(path: Path, patients: Sequence[str], scans: Sequence[Sequence[str]], channels: int | None) -> list[LazyVolume]:
    """Open scans; opening unpacks some kinds of files into the cache.

    Args:
        path: of the table, for messages.
        patients: the patient of each scan.
        scans: the channels of each.
        channels: their number; default: that of the first scan.

    Raises:
        ValueError: when a scan is broken, has not three axes, or another number of channels; the message counts all of them and
            shows the first ten.
    """
    volumes: list[LazyVolume] = []
    problems: list[str] = []
    for patient, scan in zip(patients, tqdm(scans, "opening scans", leave=False, disable=None), strict=True):
        try:
            volume = open_volume(list(scan) if len(scan) > 1 else scan[0])
        except (OSError, ValueError) as error:
            problems.append(f"patient {patient}: {error}")
            continue
        found, *shape = volume.shape
        channels = channels or found
        if found != channels:
            problems.append(f"patient {patient}: {volume.key} has {found} channels, {channels} are expected")
        elif len(shape) != 3:
            problems.append(f"patient {patient}: {volume.key} has {len(shape)} axes, three are expected")
        volumes.append(volume)
    if problems:
        raise ValueError(
            f"{path}: {len(problems)} of {len(scans)} scans cannot be used. Correct them, or leave the patients out with "
            f"exclude=[...]:\n  {listed(problems)}"
        )
    return volumes
