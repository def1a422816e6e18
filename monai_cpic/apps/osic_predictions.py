"""From a network's outputs to a table of predicted FVC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import torch
from ignite.engine import Engine, Events
from monai.transforms import Transform
from torch import Tensor

from monai_cpic.apps.osic import predictions_table

__all__ = ["FVCPredictions", "InMillilitres"]


class InMillilitres(Transform):
    """FVC in ml from predictions and labels that are changes in units of each patient's baseline FVC: an engine's postprocessing.

    Quantiles that cross are put in order, which never makes the pinball loss larger (rearrangement, Chernozhukov et al. 2010).
    Use it with ``decollate=False``; the batch holds lists over patients, the outputs rows
    (:class:`~monai_cpic.handlers.PrepareRows`).
    """

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Convert ``pred`` ``[R, Q]`` and ``label`` ``[R]``."""
        baseline: Sequence[float] = data["baseline_fvc"]
        pred: Tensor = data["pred"]
        rows = [len(weeks) for weeks in data["weeks"]]
        scale = torch.tensor(baseline, dtype=pred.dtype).repeat_interleave(torch.tensor(rows)).to(pred.device)
        return {**data, "pred": (1 + pred.sort(1).values) * scale[:, None], "label": (1 + data["label"]) * scale}


class FVCPredictions:
    """Collect the predicted quantiles of an evaluator's run, in ml.

    Attributes:
        items: the patients, in the order of the run.
        quantiles: for each patient ``[V, Q]``.
    """

    def __init__(self) -> None:
        self.items: list[dict[str, Any]] = []
        self.quantiles: list[Tensor] = []

    def attach(self, engine: Engine) -> None:
        """Register with an evaluator."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._reset)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Take in one batch."""
        batch, output = engine.state.batch, engine.state.output
        self.items += [dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True)]
        rows = [len(weeks) for weeks in batch["weeks"]]
        self.quantiles += output["pred"].detach().cpu().split(rows)

    def table(self) -> pd.DataFrame:
        """See :func:`~monai_cpic.apps.osic.predictions_table`."""
        return predictions_table(self.items, self.quantiles)

    def _reset(self, engine: Engine) -> None:
        self.items, self.quantiles = [], []
