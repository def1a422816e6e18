"""From a network's outputs, and from simple models, to predicted survival in days."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import torch
from monai.transforms import Transform
from torch import Tensor

from monai_cpic.cohorts.brats.cohort import FIVE_YEARS, predictions_table
from monai_cpic.cohorts.predictions import PatientPredictions

__all__ = ["InDays", "SurvivalPredictions", "of_deaths", "ridge_prediction"]


class InDays(Transform):
    """Survival in days from predictions and labels in units of five years: an engine's postprocessing.

    A prediction below 0 becomes 0. Use it with ``decollate=False``.
    """

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Convert ``pred`` ``[N, 1]`` and ``label`` ``[N, 2]`` (survival, and whether the patient died)."""
        unit = torch.tensor([FIVE_YEARS, 1.0]).to(data["label"])
        return {**data, "pred": data["pred"].clamp(min=0) * FIVE_YEARS, "label": data["label"] * unit}


class SurvivalPredictions(PatientPredictions):
    """Collect the predicted survival of an evaluator's run, in days."""

    def days(self) -> Tensor:
        """Predicted survival of each patient, ``[N]``."""
        return torch.cat([output[:, 0] for output in self.outputs])

    def table(self) -> pd.DataFrame:
        """See :func:`~monai_cpic.cohorts.brats.cohort.predictions_table`."""
        return predictions_table(self.items, self.days().tolist())


def of_deaths(output: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Predicted and true survival ``[M]`` of the patients of an engine's output who died: what a metric compares.

    Args:
        output: after :class:`InDays`.
    """
    days, died = output["label"].unbind(1)
    return output["pred"][died > 0, 0], days[died > 0]


def ridge_prediction(
    training: Sequence[dict[str, Any]], cohort: Sequence[dict[str, Any]], columns: Sequence[int], penalty: float = 1.0
) -> Tensor:
    """Predict the survival by ridge regression on some covariates; on none of them this is the mean.

    Args:
        training: items of :func:`~monai_cpic.cohorts.brats.cohort.read_cohort`, of which those who died count.
        cohort: patients to predict.
        columns: of :data:`~monai_cpic.cohorts.brats.cohort.COVARIATES`.
        penalty: on squared coefficients, not on the intercept.

    Returns:
        Days, not below 0, ``[N]``.

    Raises:
        ValueError: when nobody in the training part died.
    """
    dead = [item for item in training if item["died"]]
    if not dead:
        raise ValueError(f"none of {len(training)} training patients died: there is no survival to learn from.")
    known, new = (torch.cat([item["covariates"] for item in items])[:, columns].double() for items in (dead, cohort))
    days = torch.tensor([item["survival_days"] for item in dead], dtype=torch.float64)
    centre = known.mean(0)
    gram = (known - centre).T @ (known - centre) + penalty * torch.eye(len(columns), dtype=torch.float64)
    coefficients = torch.linalg.solve(gram, (known - centre).T @ (days - days.mean()))
    return (days.mean() + (new - centre) @ coefficients).clamp(min=0)
