"""From a network's outputs to a table of predicted FVC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import torch
from monai.transforms import Transform
from torch import Tensor

from monai_cpic.cohorts.osic.cohort import CHANGE_UNIT, predictions_table
from monai_cpic.cohorts.predictions import PatientPredictions

__all__ = ["FVCPredictions", "InMillilitres"]


class InMillilitres(Transform):
    """FVC in ml from predicted and observed changes since each patient's baseline: an engine's postprocessing.

    Quantiles that cross are put in order, which never makes the pinball loss larger (rearrangement, Chernozhukov et al. 2010).
    Use it with ``decollate=False``; the batch holds lists over patients, the outputs rows
    (:class:`~monai_cpic.handlers.PrepareRows`).
    """

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Convert ``pred`` ``[R, Q + 1]`` to quantiles ``[R, Q]`` and ``label`` ``[R, 2]`` to FVC ``[R]``; rates are left out."""
        baseline: Sequence[float] = data["baseline_fvc"]
        pred: Tensor = data["pred"]
        rows = [len(weeks) for weeks in data["weeks"]]
        start = torch.tensor(baseline, dtype=pred.dtype).repeat_interleave(torch.tensor(rows)).to(pred.device)
        quantiles = start[:, None] + CHANGE_UNIT * pred[:, :-1].sort(1).values
        return {**data, "pred": quantiles, "label": start + CHANGE_UNIT * data["label"][:, 0]}


class FVCPredictions(PatientPredictions):
    """Collect the predicted quantiles of an evaluator's run, in ml."""

    def table(self) -> pd.DataFrame:
        """See :func:`~monai_cpic.cohorts.osic.cohort.predictions_table`."""
        return predictions_table(self.items, self.outputs)
