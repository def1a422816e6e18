"""A cohort from a table: what is found in the training patients, and which tables are refused."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from table_files import write_cohort

from monai_cpic.cohorts import TableCohort, fit_table, folds
from monai_cpic.model_files.configuration import plain

AGES = [str(40 + row) for row in range(20)]
SCORES = [float(row % 7) + row / 10 for row in range(20)]


def fitted(table: Path, target: str = "score", **options: Any) -> TableCohort:
    return fit_table(table, options.pop("images", ["image"]), target, **options)


def changed(table: Path, column: str, values: Sequence[object]) -> Path:
    """The table with another column, or with other entries in the first lines of one."""
    frame = pd.read_csv(table, dtype=object)
    frame[column] = [*values, *(frame[column] if column in frame else [""] * len(frame))[len(values) :]]
    frame.to_csv(table, index=False)
    return table


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return write_cohort(tmp_path, {"score": SCORES, "age": AGES, "sex": ["f", "m"] * 10})


def test_items_are_scaled_by_the_training_patients(table: Path) -> None:
    cohort = fitted(table, covariates=["age", "sex"])
    items = cohort.read(table)
    training, validation = folds(items)
    assert len(items) == 20 and len(validation) == 4
    labels = torch.cat([item["label"] for item in training])
    assert labels.mean().item() == pytest.approx(0, abs=1e-6) and labels.std(correction=0).item() == pytest.approx(1)
    covariates = torch.cat([item["covariates"] for item in training])
    assert covariates[:, 0].mean().item() == pytest.approx(0, abs=1e-6) and (covariates[:, 1:].sum(1) == 1).all()
    assert len(cohort.covariates) == 3 and cohort.target.kind == "number" and cohort.channels == ("image",)
    assert Path(items[3]["image"]) == table.parent / "scans" / "3.npy"


def test_all_folds_share_what_is_found_in_all_patients(table: Path) -> None:
    cohort = fitted(table, covariates=["age"], fold="all")
    items = cohort.read(table)
    for name in ("label", "covariates"):
        values = torch.cat([item[name] for item in items])[:, 0]
        assert values.mean().item() == pytest.approx(0, abs=1e-6) and values.std(correction=0).item() == pytest.approx(1)


def test_intervals_count_each_patient_once(table: Path) -> None:
    """A patient with two scans is one patient, whose scans are never calibrated on each other."""
    frame = pd.read_csv(table, dtype=str)
    frame["id"] = [f"P{row // 2:02}" for row in range(20)]
    frame.to_csv(table, index=False)
    cohort = fitted(table)
    items = cohort.read(table)
    outputs = [torch.tensor([[score - 2, score - 1, score]]).double() for score in SCORES]
    patients, joined = cohort.by_patient(items, outputs)
    assert [patient["patient"] for patient in patients] == [f"P{row:02}" for row in range(10)]
    assert torch.equal(torch.cat(list(joined)), torch.cat(outputs))
    assert cohort.calibrate(items, outputs) == pytest.approx({"factor": 1.0})


def test_a_cohort_survives_its_settings(table: Path) -> None:
    cohort = fitted(table, covariates=["age", "sex"])
    settings = plain(cohort.settings, "settings")  # as a model file holds them
    twin = TableCohort.from_settings(settings)
    assert plain(twin.settings, "settings") == settings
    for one, other in zip(cohort.read(table), twin.read(table), strict=True):
        torch.testing.assert_close(one["covariates"], other["covariates"])
        torch.testing.assert_close(one["label"], other["label"])


def test_other_kinds_of_tables(table: Path) -> None:
    frame = pd.read_csv(table, dtype=str)
    frame.to_csv(table.with_suffix(".tsv"), sep="\t", index=False)
    frame.to_excel(table.with_suffix(".xlsx"), index=False)
    expected = fitted(table, covariates=["age"]).settings
    for suffix in (".tsv", ".xlsx"):
        assert fitted(table.with_suffix(suffix), covariates=["age"]).settings == expected


def test_rows_of_one_scan_are_one_item_and_a_patient_is_in_one_fold(table: Path) -> None:
    frame = pd.read_csv(table, dtype=str)
    frame["id"] = [f"P{row // 4}" for row in range(20)]  # five patients of four rows
    frame["image"] = [f"scans/{row // 2}.npy" for row in range(20)]  # of two scans
    frame.to_csv(table, index=False)
    cohort = fitted(table, n_folds=3)
    items = cohort.read(table)
    assert len(items) == 10 and all(item["label"].shape == (2, 1) and len(item["lines"]) == 2 for item in items)
    for fold in range(3):
        training, validation = folds(items, 3, fold)
        assert {item["patient"] for item in training}.isdisjoint(item["patient"] for item in validation)
        assert len(training) + len(validation) == 10


def test_folds_have_equal_shares_of_the_classes(table: Path) -> None:
    changed(table, "score", ["sick"] * 5 + ["well"] * 15)
    items = fitted(table).read(table)
    for fold in range(5):
        _, validation = folds(items, 5, fold)
        assert sorted(item["stratum"] for item in validation) == [0, 1, 1, 1]


def test_lines_without_a_target_are_left_out_and_counted(table: Path, caplog: pytest.LogCaptureFixture) -> None:
    changed(table, "score", ["", "n/a"])
    with caplog.at_level(logging.WARNING):
        cohort = fitted(table)
    assert caplog.text.count("2 of 20 lines have no score") == 1 and len(cohort.read(table)) == 18


def test_new_patients_need_no_target(table: Path) -> None:
    cohort = fitted(table, covariates=["age"])
    frame = pd.read_csv(table, dtype=str).drop(columns=["score", "sex"])
    frame.to_csv(table, index=False)
    new = TableCohort.from_settings(cohort.settings, target_known=False)
    items = new.read(table)
    assert len(items) == 20 and all(item["values"].isnan().all() for item in items)
    with pytest.raises(ValueError, match="no column score"):
        TableCohort.from_settings(cohort.settings).read(table)


def test_two_columns_are_two_channels(table: Path) -> None:
    changed(table, "second", [f"scans/{row}.npy" for row in range(20)])
    cohort = fitted(table, images=["image", "second"])
    assert cohort.channels == ("image", "second")
    item = cohort.read(table)[0]
    assert item["image"] == item["files"] and len(item["image"]) == 2


def test_the_table_of_predictions(table: Path) -> None:
    cohort = fitted(table)
    items = cohort.read(table)[:2]
    found = cohort.table(items, [torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[4.0, 5.0, 6.0]])])
    assert found.to_dict("list") == {
        "patient": ["P00", "P01"],
        "line": [2, 3],
        "score": [2.0, 5.0],
        "q20": [1.0, 4.0],
        "q80": [3.0, 6.0],
        "score_true": SCORES[:2],
    }
    assert cohort.scores(found)["mae"] == pytest.approx((2 - SCORES[0] + 5 - SCORES[1]) / 2)


@pytest.mark.parametrize(
    "column, values, options, message",
    [
        ("age", [], {"images": ["ct"]}, "no column ct; the header names id, image, score, age, sex"),
        ("score", [3] * 20, {"kind": "number"}, "is constant, 3"),
        ("score", ["3"] * 20, {"kind": "classes"}, "is constant, '3'"),
        ("score", [""] * 20, {}, "is empty in all 20 lines"),
        ("score", ["low", "high"] * 10, {"kind": "number"}, "is no number in most lines, such as 'low'"),
        ("score", ["12?"], {}, "line 2, patient P00: score is '12\\?', expected a number"),
        ("score", ["rare", *["a", "b"] * 9, "a"], {}, "1 classes with a single patient, such as 'rare'"),
        ("age", ["89+"], {"covariates": ["age"]}, "line 2, patient P00: age is '89\\+', expected a number"),
        ("copy", SCORES, {"covariates": ["copy"]}, "'copy' equals the target 'score'"),
        ("scaled", [2 * score - 7 for score in SCORES], {"covariates": ["scaled"]}, "'scaled' equals the target"),
        ("name", [f"N{row}" for row in range(20)], {"covariates": ["name"]}, "'name' has 20 different texts, such as 'N0'"),
        ("id", [""], {}, "line 2, patient \\(none\\): id is '', expected a name"),
        ("image", ["", "gone.npy"], {}, "names 2 scans that do not exist"),
        ("died", [1, "yes", *[0] * 18], {"event": "died"}, "died is 'yes', expected 1 or 0, true or false"),
        ("died", [0] * 20, {"event": "died"}, "no event has happened"),
        ("score", ["-1"], {"event": "age"}, "score is '-1', expected a time that is not negative"),
        ("age", [], {"kind": "survival"}, "name the column of the event"),
        ("age", [], {"kind": "colour"}, "kind must be one of survival, classes, number"),
        ("age", [], {"images": "image"}, "images and covariates are lists of columns"),
        ("age", [], {"exclude": ["P99"]}, "exclude names unknown patients: P99"),
        ("age", ["61,5"], {"covariates": ["age"]}, "line 2: age is '61,5': write numbers with a point"),
        ("age", ["unknown"] * 5, {"covariates": ["age"]}, "'age' mixes numbers with 5 texts, such as 'unknown' in line 2"),
        ("score", ["?"] * 9, {}, "'score' mixes numbers with 9 texts"),
        (
            "score",
            ["unknown", *[0, 1] * 9, 0],
            {},
            "line 2, patient P00: score is 'unknown', expected a number, as in other lines",
        ),
        ("died", [1, 0] * 10, {"event": "died", "kind": "number"}, "'number' has no event: leave one of the two out"),
        ("pay", ["$50k+", "less"] * 10, {"covariates": ["pay"]}, "'\\$50k\\+' begins with '\\$'"),
        ("image", ["scans/7.npy"], {}, "line 9: .*7.npy is a scan of P00 and P07 by the column 'id'.*--patient"),
    ],
)
def test_tables_that_are_refused(
    table: Path, column: str, values: Sequence[object], options: dict[str, Any], message: str
) -> None:
    changed(table, column, values)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        fitted(table, **options)


def test_none_may_be_a_class(table: Path) -> None:
    changed(table, "score", ["None", " NA", "mild", "severe"] * 5)
    cohort = fitted(table)
    assert cohort.target.settings["classes"] == ("None", "mild", "severe") and len(cohort.read(table)) == 15


def test_an_empty_covariate_does_not_equal_the_target(table: Path) -> None:
    changed(table, "empty", [])
    assert len(fitted(table, covariates=["empty"]).read(table)) == 20


def test_what_a_table_is_taken_for_is_logged(table: Path, caplog: pytest.LogCaptureFixture) -> None:
    frame = pd.read_csv(table, dtype=str)
    pd.concat([frame, frame.iloc[[3]], frame.iloc[[4]].assign(score="9")]).to_csv(table, index=False)
    with caplog.at_level(logging.INFO):
        fitted(table, covariates=["age", "sex"])
    assert "22 lines of 20 patients by the column 'id'; the target 'score': number; covariates of numbers: age" in caplog.text
    assert "covariates of texts: sex" in caplog.text
    assert "1 lines equal earlier ones in patient, scans and covariates, also in the target, the first is line 22" in caplog.text
    assert "but not in the target, the first is line 23; each counts" in caplog.text


def test_one_bad_entry_does_not_stop_the_others(table: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A missing scan of a new patient is noticed when it is opened, a target that is not needed is not."""
    cohort = fitted(table)
    changed(table, "score", ["pending"])
    changed(table, "image", ["gone.npy"])
    new = TableCohort.from_settings(cohort.settings, target_known=False)
    with caplog.at_level(logging.WARNING):
        items = new.read(table)
    assert len(items) == 20 and items[0]["values"].isnan().all() and not items[1]["values"].isnan().any()
    assert "1 targets cannot be read and are taken for unknown:\n  line 2, patient P00: score is 'pending'" in caplog.text


def test_missing_scans_are_counted_and_the_first_ten_are_shown(table: Path) -> None:
    changed(table, "image", [f"gone/{row}.npy" for row in range(15)])
    with pytest.raises(FileNotFoundError) as caught:
        fitted(table)
    said = str(caught.value)
    assert "names 15 scans" in said and said.count("gone/") == 10 and said.endswith("and 5 more")
    assert f"line 2, patient P00: {table.parent / 'gone/0.npy'}" in said


def test_scans_of_other_channels_are_refused(table: Path) -> None:
    cohort = fitted(table)
    np.save(table.parent / "scans" / "7.npy", np.zeros((2, 12, 10, 9), np.float32))
    np.save(table.parent / "scans" / "8.npy", np.zeros((1, 12, 10), np.float32))
    with pytest.raises(ValueError, match="2 of 20 scans cannot be used") as caught:
        cohort.read(table)
    assert "P07: " in str(caught.value) and "has 2 channels, 1 are expected" in str(caught.value)
    assert "has 2 axes, three are expected" in str(caught.value)


def test_tables_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="name the table of your cohort"):
        fitted(tmp_path / "none.csv")
    for name, content, message in (
        ("empty.csv", "id,image,score\n", "no line below the header"),
        ("table.doc", "id\n", "must end with one of .csv, .tsv"),
        ("broken.csv", "id,image\na,b,c,d\n", "cannot be read as a table"),
        ("short.csv", "id,image,score,age\nA,b,61\n", "line 2 has 3 fields, the header has 4"),
        ("open.csv", 'id,image\n"a,b\n', "cannot be read as a table|no line below"),
        ("latin.csv", "id,image\nJosé,b\n", "is not UTF-8 text"),
        ("broken.xlsx", "id,image\na,b\n", "cannot be read as a table"),
        ("index.csv", ",id,image,score\n0,A,b,1\n", "the first column has no name"),
        ("blank.csv", "id,image,score\n\n", "no line below"),
        ("twice.csv", "id,image,score,score\nA,b,1,2\n", "more than one column score"),
    ):
        (tmp_path / name).write_bytes(content.encode("latin-1"))
        with pytest.raises(ValueError, match=message):
            fitted(tmp_path / name)


def test_an_unknown_text_is_logged_and_taken_as_missing(table: Path, caplog: pytest.LogCaptureFixture) -> None:
    cohort = fitted(table, covariates=["sex"])
    changed(table, "sex", ["x"])
    with caplog.at_level(logging.WARNING):
        items = cohort.read(table)
    assert items[0]["covariates"].tolist() == [[0.0, 0.0]] and "sex is x: not in the training" in caplog.text
