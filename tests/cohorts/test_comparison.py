"""Models compared on a table by hand: which baseline is best, the difference, and the sentence that says so."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import pytest
import torch

from monai_cpic.cohorts import BraTSCohort, OSICCohort
from monai_cpic.cohorts.baselines import predictions_of_baselines
from monai_cpic.cohorts.baselines.fvc import ConstantFVC
from monai_cpic.cohorts.comparison import Comparison, compare


def lungs(errors: dict[str, list[float]]) -> Comparison:
    """Two patients, the second with two visits; each model has a spread of 100 ml and the given errors."""
    items: list[dict[str, Any]] = [
        {"patient": "A", "weeks": torch.tensor([4]), "fvc": torch.tensor([2000.0])},
        {"patient": "B", "weeks": torch.tensor([4, 8]), "fvc": torch.tensor([3000.0, 3000.0])},
    ]
    spread = torch.tensor([-50.0, 0.0, 50.0])

    def output(given: list[float]) -> list[torch.Tensor]:
        predicted = torch.tensor([2000.0, 3000.0, 3000.0]) + torch.tensor(given)
        return list((predicted[:, None] + spread).split([1, 2]))

    return compare(OSICCohort(), items, {name: output(given) for name, given in errors.items()}, "C-PIC")


def score(error: float) -> float:
    return -math.sqrt(2) * error / 100 - math.log(math.sqrt(2) * 100)


def test_the_best_baseline_and_the_difference_to_it() -> None:
    comparison = lungs({"C-PIC": [10, 20, 20], "worse": [90, 90, 90], "better": [40, 20, 20]})
    metrics = comparison.metrics()
    assert list(metrics) == ["c_pic", "worse", "better", "c_pic_minus_best_baseline"]
    assert metrics["better"]["score"] == pytest.approx((score(40) + 2 * score(20)) / 3, abs=1e-4)
    assert metrics["better"]["score_interval"] == pytest.approx([score(40), score(20)], abs=1e-4)
    difference = metrics["c_pic_minus_best_baseline"]
    assert difference["best_baseline"] == "better"
    assert difference["score"] == pytest.approx(math.sqrt(2) * 0.1, abs=1e-4)  # a third of 0.3
    assert difference["score_interval"] == pytest.approx([0, math.sqrt(2) * 0.3], abs=1e-4)
    pinball = metrics["c_pic"]["pinball_loss"] - metrics["better"]["pinball_loss"]
    assert difference["pinball_loss"] == pytest.approx(pinball)
    assert comparison.rows()[0]["score"] == "-5.187 (-5.235 to -5.093)"


@pytest.mark.parametrize(
    ("network", "said", "interval"),
    [
        ([10.0, 20.0, 20.0], "0.4243 better", "0.4243 better to 0.4243 better"),
        ([70.0, 20.0, 20.0], "0.1414 better", "0.4243 worse to 0.4243 better"),
        ([70.0, 80.0, 80.0], "0.4243 worse", "0.4243 worse to 0.4243 worse"),
    ],
)
def test_a_sentence_says_how_much_better_or_worse(network: list[float], said: str, interval: str) -> None:
    expected = f"score: C-PIC is {said} than the best baseline, rival (95 % interval {interval}; 2 patients)."
    assert lungs({"C-PIC": network, "rival": [40, 50, 50]}).sentence() == expected


def days(predicted: dict[str, list[float]], died: list[bool]) -> Comparison:
    items = [
        {"patient": f"P{k}", "age": 60.0, "resection": "NA", "survival_days": 100.0 * (k + 1), "died": dead}
        for k, dead in enumerate(died)
    ]
    outputs = {name: [torch.tensor([[value]]) for value in values] for name, values in predicted.items()}
    return compare(BraTSCohort(), items, outputs, "C-PIC")


def test_where_lower_is_better() -> None:
    comparison = days({"C-PIC": [110, 210], "a": [130, 230], "b": [190, 290]}, [True, True])
    assert comparison.best_baseline == "a"
    assert comparison.metrics()["c_pic_minus_best_baseline"]["rmse_days"] == pytest.approx(-20)
    assert "20 better than the best baseline, a (95 % interval 20 better to 20 better; 2 patients)" in comparison.sentence()


def test_one_patient_has_no_interval() -> None:
    assert days({"C-PIC": [110], "a": [130]}, [True]).sentence().endswith("baseline, a (no interval; 1 patient).")


def test_a_score_that_nobody_defines() -> None:
    comparison = days({"C-PIC": [110, 120], "a": [130, 140]}, [False, False])
    assert comparison.metrics()["c_pic_minus_best_baseline"] == {"best_baseline": None}
    assert comparison.sentence() == "C-PIC cannot be compared: rmse_days is not defined for these 2 patients."


def test_a_table_has_a_row_for_each_prediction() -> None:
    class Shorter(OSICCohort):
        def table(self, *arguments: Any) -> pd.DataFrame:
            return super().table(*arguments)[1:]

    items = [{"patient": "A", "weeks": torch.tensor([4, 5]), "fvc": torch.tensor([2000.0, 2000.0])}]
    with pytest.raises(ValueError, match="the table of C-PIC must have 2 rows, one for each prediction, got 1"):
        compare(Shorter(), items, {"C-PIC": [torch.zeros(2, 3)]}, "C-PIC")


def test_names_of_models_are_unique() -> None:
    with pytest.raises(ValueError, match="same key in metrics.json: C-PIC, my rival, My-Rival"):
        lungs({"C-PIC": [10, 20, 20], "my rival": [90, 90, 90], "My-Rival": [40, 20, 20]})
    with pytest.raises(ValueError, match="unique, got constant, constant"):
        predictions_of_baselines([ConstantFVC(), ConstantFVC()], [], [], [])
