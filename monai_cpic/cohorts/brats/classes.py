"""The challenge's classes of survival: a table of how patients were classified."""

from __future__ import annotations

import pandas as pd
import torch
from torch import Tensor

from monai_cpic.metrics import survival_classes

__all__ = ["class_table"]

CLASSES = ("less than 10 months", "10 to 15 months", "more than 15 months")


def class_table(predicted: Tensor, true: Tensor) -> pd.DataFrame:
    """How the patients of each class were classified.

    Args:
        predicted: predicted survival in days, ``[N]``, of patients who died.
        true: their true survival in days, ``[N]``.

    Returns:
        A row for each true class, with the columns ``survival`` (the class), ``patients``, the number of patients predicted in
        each class, and ``accuracy`` (NaN for a class without patients).
    """
    predicted, true = survival_classes(predicted), survival_classes(true)
    rows = []
    for number, name in enumerate(CLASSES):
        counts = torch.bincount(predicted[true == number], minlength=len(CLASSES)).tolist()
        total = sum(counts)
        rows.append(
            {
                "survival": name,
                "patients": total,
                **{f"predicted {other}": count for other, count in zip(CLASSES, counts, strict=True)},
                "accuracy": counts[number] / total if total else float("nan"),
            }
        )
    return pd.DataFrame(rows)
