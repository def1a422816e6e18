"""From a network's outputs to millilitres."""

from __future__ import annotations

import torch

from monai_cpic.cohorts.osic.predictions import InMillilitres


def test_changes_become_millilitres_of_each_patient() -> None:
    pred = torch.tensor([[0.5, -1.0, 1.0, 9.0], [0.0, 0.0, 0.0, 9.0], [-0.1, 0.0, 0.1, 9.0]], dtype=torch.float64)
    label = torch.tensor([[-2.0, 1.0], [torch.nan, 1.0], [1.0, 3.0]])
    weeks = [torch.tensor([3, 5]), torch.tensor([8])]
    result = InMillilitres()({"pred": pred, "label": label, "weeks": weeks, "baseline_fvc": [2000.0, 3000.0]})
    expected = [[1700.0, 2150.0, 2300.0], [2000.0, 2000.0, 2000.0], [2970.0, 3000.0, 3030.0]]  # in order, without the rate
    torch.testing.assert_close(result["pred"], torch.tensor(expected, dtype=torch.float64))
    torch.testing.assert_close(result["label"].double(), torch.tensor([1400.0, torch.nan, 3300.0]).double(), equal_nan=True)
