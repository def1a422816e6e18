"""Kinds of targets: which columns they suit, what is predicted, how it is scored, and that baselines find what is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from ignite.engine import Engine
from sklearn.metrics import balanced_accuracy_score, log_loss, roc_auc_score
from statsmodels.duration.survfunc import SurvfuncRight

from monai_cpic.cohorts.baselines import predictions_of_baselines
from monai_cpic.cohorts.coverage import contains
from monai_cpic.cohorts.table.descriptions import Describe, only_covariates
from monai_cpic.cohorts.table.targets import Target, target_kind
from monai_cpic.cohorts.tables import Problems
from monai_cpic.reporting.report import Report

ROWS = 60


def lines(**columns: Any) -> pd.DataFrame:
    count = len(next(iter(columns.values())))
    named = {"id": [f"P{row:02}" for row in range(count)]} | {name: [str(v) for v in values] for name, values in columns.items()}
    return pd.DataFrame(named)


def of(table: pd.DataFrame, *columns: str) -> tuple[Target, np.ndarray[Any, Any]]:
    """The fitted target of a table, and its values."""
    problems = Problems(Path("table.csv"), table)
    target = target_kind(None, [table[column] for column in columns]).of(table, columns, problems)
    values = target.values(table, problems)
    problems.raise_if_any()
    return target.fitted(values), values


@pytest.fixture(params=["number", "classes", "survival"])
def known(request: pytest.FixtureRequest) -> tuple[Target, list[dict[str, Any]]]:
    """A target that depends on a covariate, and patients."""
    random = np.random.default_rng(0)
    risk = random.normal(size=ROWS)
    if request.param == "number":
        target, values = of(lines(score=5 * risk + random.normal(size=ROWS)), "score")
    elif request.param == "classes":
        target, values = of(lines(sick=np.where(risk + 0.3 * random.normal(size=ROWS) > 0.5, "yes", "no")), "sick")
    else:
        time, limit = random.exponential(np.exp(-2 * risk)), random.exponential(2, ROWS)
        target, values = of(lines(days=np.minimum(time, limit), died=(time <= limit).astype(int)), "days", "died")
    items = [
        {
            "patient": f"P{row:02}",
            "covariates": torch.tensor([[risk[row]]]).float(),
            "label": torch.from_numpy(target.labels(values[[row]])).float(),
            "values": torch.from_numpy(values[[row]]),
        }
        for row in range(ROWS)
    ]
    assert target.kind == request.param
    return target, items


def test_baselines_predict_new_patients_from_covariates(known: tuple[Target, list[dict[str, Any]]]) -> None:
    """The sign of all predictions is right: whoever has the higher risk has the higher score, class or hazard."""
    target, items = known
    training, new = items[:40], items[40:]
    baselines = target.baselines([Describe("covariates", only_covariates)])
    outputs = predictions_of_baselines(baselines, training, new, ("label", "values"))
    values = torch.cat([item["values"] for item in new]).numpy()
    (name,) = target.key_metric()
    informed, constant = (target.scores(target.table(torch.cat(given).numpy(), values))[name] for given in outputs.values())
    assert informed > max(constant, 0.75) if target.higher_is_better else informed < 0.5 * constant


def test_the_key_metric_of_an_engine_is_the_score_of_the_table(known: tuple[Target, list[dict[str, Any]]]) -> None:
    target, items = known
    outputs = torch.randn(ROWS, len(target.outputs))
    predictions = target.in_units(outputs)
    ((name, metric),) = target.key_metric().items()
    label = torch.cat([item["label"] for item in items])
    metric.reset()
    for part in range(2):
        rows = slice(part, None, 2)
        engine = Engine(lambda _, batch: None)
        output: Any = {"pred": predictions[rows], "label": label[rows]}
        engine.state.output = output
        metric.iteration_completed(engine)
    values = torch.cat([item["values"] for item in items]).numpy()
    assert metric.compute() == pytest.approx(target.scores(target.table(predictions.numpy(), values))[name], rel=1e-4)


def test_true_values_are_predicted_best(known: tuple[Target, list[dict[str, Any]]]) -> None:
    """Outputs that say the truth have nearly no loss, and the best score."""
    target, items = known
    values = torch.cat([item["values"] for item in items])
    labels = torch.cat([item["label"] for item in items])
    if target.kind == "number":
        outputs = labels.expand(-1, 3)
    elif target.kind == "classes":
        outputs = 20 * torch.nn.functional.one_hot(labels[:, 0].long(), 2).float()
    else:
        ends = torch.tensor(target.outputs)
        outputs = torch.where(labels[:, :1] <= ends, 20.0 * labels[:, 1:], -20.0) - 10 * (1 - labels[:, 1:])
    scores = target.scores(target.table(target.in_units(outputs).numpy(), values.numpy()))
    (name,) = target.key_metric()
    assert scores[name] == pytest.approx(1 if target.higher_is_better else 0, abs=0.08)


def test_scores_without_true_values_are_not_defined(known: tuple[Target, list[dict[str, Any]]]) -> None:
    target, items = known
    predictions = target.in_units(torch.randn(5, len(target.outputs))).double().numpy()
    values = np.full((5, items[0]["values"].shape[1]), np.nan)
    table = target.table(predictions, values)
    assert all(np.isnan(score) for score in target.scores(table).values())
    report = Report("")
    target.report_evaluation(report, table)


def test_figures(known: tuple[Target, list[dict[str, Any]]], tmp_path: Path) -> None:
    target, items = known
    values = torch.cat([item["values"] for item in items]).numpy()
    report = Report("")
    target.report_evaluation(report, target.table(target.in_units(torch.randn(ROWS, len(target.outputs))).numpy(), values))
    report.write(tmp_path / "report.html")
    assert "data:image/png" in (tmp_path / "report.html").read_text()


def test_what_the_report_explains(known: tuple[Target, list[dict[str, Any]]]) -> None:
    """The change of a prediction when the explained output is one higher."""
    target, items = known
    explained = target.explained(items[0]["covariates"])
    outputs = torch.zeros(2, len(target.outputs))
    outputs[1, explained.output] = 1
    low, high = target.in_units(outputs)
    if target.kind == "number":
        assert explained.name.startswith("score - ") and explained.output == 1
        assert explained.unit == pytest.approx((high.max() - low.max()).item())
    elif target.kind == "classes":
        assert explained.name == "logit of yes" and high[1] > low[1]
    else:
        assert explained.name.startswith("logit of the hazard until ") and high[0] < low[0]


def test_intervals_contain_the_truth_as_often_as_they_should(known: tuple[Target, list[dict[str, Any]]]) -> None:
    """Calibrated on half of the patients, for the other half; censored times only widen them."""
    target, items = known
    if target.intervals is None:
        assert target.kind == "classes"
        return
    torch.manual_seed(0)
    outputs = [target.in_units(torch.randn(1, len(target.outputs))) for _ in items]
    calibration = target.intervals.fit(items[::2], outputs[::2])
    ends = torch.cat([target.intervals(output, calibration) for output in outputs[1::2]])
    inside = contains(ends, torch.cat([target.intervals.truth(item) for item in items[1::2]]))
    assert target.intervals.coverage == 0.6 and inside[~inside.isnan()].mean().item() > 0.4
    assert target.kind == "number" or ends.min() >= 0


def test_kinds_by_values() -> None:
    table = lines(score=[1, 2.5, 3, 3], grade=[0, 1, 1, 0], name=["a", "b", "a", "b"], died=["true", "False", 1, 0])
    for columns, kind in ((["score"], "number"), (["grade"], "classes"), (["name"], "classes"), (["score", "died"], "survival")):
        assert target_kind(None, [table[column] for column in columns]).kind == kind
    target, values = of(table, "score", "died")
    assert values[:, 1].tolist() == [1, 0, 1, 0] and target.columns == ("score", "died")


def test_classes_of_numbers_are_named_in_their_shortest_form() -> None:
    target, values = of(lines(grade=["1.0", "10", "1", "10.0"]), "grade")
    assert target.outputs == ["1", "10"] and values[:, 0].tolist() == [0, 1, 0, 1]


def test_scores_of_classes_are_those_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    names = np.array(["a", "b", "c"])[random.integers(0, 3, ROWS)]
    target, values = of(lines(kind=names), "kind")
    probabilities = random.dirichlet([1, 1, 1], ROWS)
    table = target.table(probabilities, values)
    scores = target.scores(table)
    assert scores["auc"] == pytest.approx(roc_auc_score(names, probabilities, multi_class="ovr"))
    assert scores["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(names, table["kind"]))
    assert scores["cross_entropy"] == pytest.approx(log_loss(names, probabilities))


def test_a_rare_class_is_predicted() -> None:
    target, values = of(lines(dead=["no"] * 18 + ["yes"] * 2), "dead")
    table = target.table(np.array([[0.7, 0.3], [0.95, 0.05]]), values[:2])
    assert table["dead"].tolist() == ["yes", "no"]


def test_the_curve_of_kaplan_and_meier() -> None:
    random = np.random.default_rng(0)
    time, event = random.integers(1, 9, ROWS), random.integers(0, 2, ROWS)
    target, values = of(lines(days=time, died=event), "days", "died")
    (baseline,) = target.baselines([])
    baseline.fit([{"patient": "P", "covariates": torch.zeros(ROWS, 0), "values": torch.from_numpy(values)}])
    (curve,) = baseline.predict([{"covariates": torch.zeros(1, 0)}])
    expected = SurvfuncRight(time, event)
    for end, share in zip(target.outputs, curve[0].tolist(), strict=True):
        assert share == pytest.approx(expected.surv_prob[expected.surv_times <= end][-1])
