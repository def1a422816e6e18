"""Kinds of targets: what a table's columns say, which outputs, scores, baselines and figures belong to them.

A kind of your own is a :class:`Target` in a file of its own and an entry of :data:`TARGETS`.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from monai_cpic.cohorts.table.targets.base import Target
from monai_cpic.cohorts.table.targets.classes import Classes
from monai_cpic.cohorts.table.targets.number import Number
from monai_cpic.cohorts.table.targets.survival import Survival

__all__ = ["TARGETS", "Target", "target_kind"]

TARGETS: list[type[Target]] = [Survival, Classes, Number]  # the first that suits the columns is used


def target_kind(name: str | None, columns: Sequence[pd.Series]) -> type[Target]:
    """The kind of a target by its name, or by its columns.

    Args:
        name: of the kind, such as ``"number"``; None: the first kind that suits the columns.
        columns: of the table, as text.

    Raises:
        ValueError: if there is no such kind.
    """
    kinds = [kind for kind in TARGETS if (kind.suits(columns) if name is None else kind.kind == name)]
    if not kinds:
        known = ", ".join(kind.kind for kind in TARGETS)
        raise ValueError(f"kind must be one of {known}, or null (by the values), got {name!r}")
    return kinds[0]
