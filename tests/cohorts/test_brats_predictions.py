"""Predicted days: units, simple models, and the scores of a run's table."""

from __future__ import annotations

import math

import pandas as pd
import pytest
import torch
from ignite.engine import Engine

from monai_cpic.cohorts import BraTSCohort
from monai_cpic.cohorts.brats.classes import class_table
from monai_cpic.metrics import concordance_index, survival_scores


def test_days() -> None:
    pred, label = torch.tensor([[0.5], [-0.1]]), torch.tensor([[0.2, 1.0], [0.4, 0.0]])
    result = BraTSCohort().in_units({"pred": pred, "label": label, "loss": 3})
    assert result["pred"].tolist() == [[912.5], [0.0]] and result["loss"] == 3
    torch.testing.assert_close(result["label"], torch.tensor([[365.0, 1.0], [730.0, 0.0]]))


def test_the_living_do_not_count_in_the_error() -> None:
    outputs = [
        {"pred": torch.tensor([[10.0], [500.0]]), "label": torch.tensor([[40.0, 1.0], [300.0, 0.0]])},
        {"pred": torch.tensor([[20.0]]), "label": torch.tensor([[60.0, 1.0]])},
        {"pred": torch.tensor([[1.0]]), "label": torch.tensor([[60.0, 0.0]])},
    ]
    engine = Engine(lambda _, output: output)
    BraTSCohort().key_metric()["rmse_days"].attach(engine, "rmse_days")
    assert engine.run(outputs).metrics["rmse_days"] == pytest.approx(math.sqrt((30**2 + 40**2) / 2))


def table(rows: list[tuple[float, float, bool, str]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["Survival_days", "Survival_days_true", "died", "Extent_of_Resection"])


def test_scores_count_whom_they_should() -> None:
    rows = [(100.0, 200.0, True, "GTR"), (500.0, 460.0, True, "GTR"), (400.0, 300.0, True, "NA"), (350.0, 361.0, False, "GTR")]
    result = BraTSCohort().scores(table([*rows, (1.0, math.nan, False, "GTR")]))
    assert result["rmse_days"] == pytest.approx(math.sqrt((100**2 + 40**2 + 100**2) / 3))
    days, true, died = (torch.tensor([row[k] for row in rows]) for k in range(3))
    assert result["c_index"] == concordance_index(days, true, died)
    expected = survival_scores(days[:2], true[:2])
    assert {name: result[name] for name in expected} == expected
    nobody = BraTSCohort().scores(table([(1.0, 361.0, False, "GTR")]))
    assert all(math.isnan(value) for value in nobody.values())


def test_classes() -> None:
    counts = class_table(torch.tensor([100.0, 400.0, 900.0]), torch.tensor([200.0, 250.0, 1000.0]))
    assert counts["patients"].tolist() == [2, 0, 1]
    assert counts.iloc[0, 2:5].tolist() == [1, 1, 0] and counts.iloc[2, 2:5].tolist() == [0, 0, 1]
    assert counts["accuracy"].tolist()[::2] == [0.5, 1.0] and math.isnan(counts["accuracy"][1])
