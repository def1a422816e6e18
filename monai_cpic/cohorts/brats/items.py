"""One patient of the BraTS cohort as an item of a MONAI data list: covariates and labels, and their units."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

__all__ = ["COVARIATES", "FIVE_YEARS", "patient_item", "possible_survival"]

COVARIATES = ("(age - 61 years) / 12 years", "gross total resection", "subtotal resection")
"""The columns of ``covariates``. Scales are fixed, not fitted, so that a prediction needs only its own patient."""

FIVE_YEARS = 5 * 365.0  # days: the unit of the label


def patient_item(row: Mapping[str, Any], scan: list[str]) -> dict[str, Any]:
    """The item of one patient, as :class:`~monai_cpic.cohorts.brats.cohort.BraTSCohort` describes it.

    Args:
        row: a row of the table of :func:`~monai_cpic.cohorts.brats.survival_table.check_survival`.
        scan: the paths of the channels.
    """
    resection = row["Extent_of_Resection"]
    return {
        "patient": row["Brats20ID"],
        "age": row["Age"],
        "resection": resection,
        "survival_days": row["Survival_days"],
        "died": bool(row["died"]),
        "covariates": torch.tensor([[(row["Age"] - 61) / 12, resection == "GTR", resection == "STR"]], dtype=torch.float32),
        "label": torch.tensor([[row["Survival_days"] / FIVE_YEARS, row["died"]]], dtype=torch.float32),
        "image": scan,
    }


def possible_survival(item: Mapping[str, Any]) -> Tensor:
    """The days between which a patient's survival lies, ``[1, 2]``, see :class:`~monai_cpic.cohorts.intervals.Intervals`.

    Twice the same for the dead, the days until last seen and infinity for the living, NaN if nothing is known.
    """
    days = item["survival_days"]
    return torch.tensor([[days, days if item["died"] or math.isnan(days) else math.inf]])
