"""A small table with scans, as a user may have it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

__all__ = ["write_cohort"]


def write_cohort(
    folder: Path, columns: Mapping[str, Sequence[object]], brightness: Sequence[float] | None = None, channels: int = 1
) -> Path:
    """Write ``table.csv`` with the columns ``id``, ``image`` and the given ones, and a scan for each row.

    Args:
        folder: to write to.
        columns: values of each row.
        brightness: of the scan of each row; default: all alike.
        channels: of the scans.
    """
    count = len(next(iter(columns.values())))
    (folder / "scans").mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    for row in range(count):
        voxels = random.random((channels, 12, 10, 9), dtype=np.float32) + (0 if brightness is None else brightness[row])
        np.save(folder / "scans" / f"{row}.npy", voxels.astype(np.float32))
    table = {"id": [f"P{row:02}" for row in range(count)], "image": [f"scans/{row}.npy" for row in range(count)], **columns}
    pd.DataFrame(table).to_csv(folder / "table.csv", index=False)
    return folder / "table.csv"
