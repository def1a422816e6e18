"""Predicted days: units, simple models against numpy's least squares, and the scores of a run's table."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch
from ignite.engine import Engine
from ignite.metrics import RootMeanSquaredError

from monai_cpic.cohorts.brats.predictions import InDays, SurvivalPredictions, of_deaths, ridge_prediction
from monai_cpic.cohorts.brats.report import class_table, scores
from monai_cpic.metrics import concordance_index, survival_scores


def patients(number: int, alive: int = 0) -> list[dict]:
    rng = np.random.default_rng(0)
    return [
        {
            "patient": f"P{k}",
            "age": 60.0,
            "resection": "GTR" if k % 2 else "NA",
            "survival_days": float(rng.integers(5, 1700)),
            "died": k >= alive,
            "covariates": torch.tensor(rng.normal(size=(1, 3)), dtype=torch.float32),
        }
        for k in range(number)
    ]


def test_days() -> None:
    pred, label = torch.tensor([[0.5], [-0.1]]), torch.tensor([[0.2, 1.0], [0.4, 0.0]])
    result = InDays()({"pred": pred, "label": label, "loss": 3})
    assert result["pred"].tolist() == [[912.5], [0.0]] and result["loss"] == 3
    torch.testing.assert_close(result["label"], torch.tensor([[365.0, 1.0], [730.0, 0.0]]))


def test_the_living_do_not_count_in_the_error() -> None:
    outputs = [
        {"pred": torch.tensor([[10.0], [500.0]]), "label": torch.tensor([[40.0, 1.0], [300.0, 0.0]])},
        {"pred": torch.tensor([[20.0]]), "label": torch.tensor([[60.0, 1.0]])},
        {"pred": torch.tensor([[1.0]]), "label": torch.tensor([[60.0, 0.0]])},
    ]
    engine = Engine(lambda _, output: output)
    RootMeanSquaredError(of_deaths).attach(engine, "rmse_days")
    assert engine.run(outputs).metrics["rmse_days"] == pytest.approx(math.sqrt((30**2 + 40**2) / 2))


def test_ridge_is_penalised_least_squares() -> None:
    training, cohort = patients(30, alive=4), patients(6)
    columns = [0, 2]
    x = np.stack([item["covariates"][0, columns].double().numpy() for item in training[4:]])
    y = np.array([item["survival_days"] for item in training[4:]])
    rows = np.vstack([x - x.mean(0), np.sqrt(2.0) * np.eye(2)])
    coefficients = np.linalg.lstsq(rows, np.concatenate([y - y.mean(), [0, 0]]))[0]
    new = np.stack([item["covariates"][0, columns].double().numpy() for item in cohort])
    expected = np.maximum(y.mean() + (new - x.mean(0)) @ coefficients, 0)
    np.testing.assert_allclose(ridge_prediction(training, cohort, columns, penalty=2.0), expected)


def test_ridge_on_nothing_is_the_mean_and_needs_deaths() -> None:
    training = patients(10, alive=1)
    mean = np.mean([item["survival_days"] for item in training[1:]])
    np.testing.assert_allclose(ridge_prediction(training, training[:3], []), [mean] * 3)
    with pytest.raises(ValueError, match="none of 5 training patients died"):
        ridge_prediction(patients(5, alive=5), training, [0])


def test_predictions_are_collected_in_order() -> None:
    predictions, cohort = SurvivalPredictions(), patients(5)
    engine = Engine(lambda _, batch: {"pred": torch.arange(len(batch["patient"]))[:, None] + 100.0})
    predictions.attach(engine)
    batches = [{key: [item[key] for item in part] for key in cohort[0]} for part in (cohort[:3], cohort[3:])]
    for _ in range(2):
        engine.run(batches)
    table = predictions.table()
    assert table["Brats20ID"].tolist() == ["P0", "P1", "P2", "P3", "P4"]
    assert table["Survival_days"].tolist() == [100, 101, 102, 100, 101]


def table(rows: list[tuple[float, float, bool, str]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["Survival_days", "Survival_days_true", "died", "Extent_of_Resection"])


def test_scores_count_whom_they_should() -> None:
    rows = [(100.0, 200.0, True, "GTR"), (500.0, 460.0, True, "GTR"), (400.0, 300.0, True, "NA"), (350.0, 361.0, False, "GTR")]
    result = scores(table([*rows, (1.0, math.nan, False, "GTR")]))
    assert result["rmse_days"] == pytest.approx(math.sqrt((100**2 + 40**2 + 100**2) / 3))
    days, true, died = (torch.tensor([row[k] for row in rows]) for k in range(3))
    assert result["c_index"] == concordance_index(days, true, died)
    expected = survival_scores(days[:2], true[:2])
    assert {name: result[name] for name in expected} == expected
    nobody = scores(table([(1.0, 361.0, False, "GTR")]))
    assert all(math.isnan(value) for value in nobody.values())


def test_classes() -> None:
    rows = [(100.0, 200.0, True, "GTR"), (400.0, 250.0, True, "NA"), (900.0, 1000.0, True, "GTR"), (100.0, 900.0, False, "GTR")]
    counts = class_table(table(rows))
    assert counts["patients"].tolist() == [2, 0, 1]
    assert counts.iloc[0, 2:5].tolist() == [1, 1, 0] and counts.iloc[2, 2:5].tolist() == [0, 0, 1]
    assert counts["accuracy"].tolist()[::2] == [0.5, 1.0] and math.isnan(counts["accuracy"][1])
