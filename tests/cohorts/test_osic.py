"""The reader of the OSIC layout on small hand-written tables: values, errors, units and predictions."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from monai_cpic.cohorts import OSICCohort
from monai_cpic.cohorts.osic.items import _rate

HEADER = "Patient,Weeks,FVC,Percent,Age,Sex,SmokingStatus"
LINES = [
    "ID2,8,2900,80,60,Female,Never smoked",  # lines out of order: the baseline is the earliest week
    "ID2,-4,3100,86,60,Female,Never smoked",
    "ID2,60,2500,69,60,Female,Never smoked",
    "ID1,0,2700,78,67,Male,Ex-smoker",
    "ID1,52,2600,75,67,Male,Ex-smoker",
]

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a dataset of the given lines, with a one-file scan for each of the given patients."""

    def _write(
        lines: list[str] = LINES, header: str = HEADER, scans: tuple[str, ...] = ("ID1", "ID2"), split: str = "train"
    ) -> Path:
        (tmp_path / f"{split}.csv").write_text("\n".join([header, *lines]) + "\n")
        (tmp_path / split).mkdir()
        for patient in scans:
            (tmp_path / split / patient).mkdir()
            (tmp_path / split / patient / "1.dcm").touch()
        return tmp_path

    return _write


def test_items(write: Write) -> None:
    folder = write()
    first, second = OSICCohort().read(folder)
    assert [first["patient"], second["patient"]] == ["ID1", "ID2"]
    assert second["image"] == str(folder / "train" / "ID2")
    assert second["baseline_fvc"] == 3100.0 and isinstance(second["baseline_fvc"], float)
    assert second["weeks"].dtype == torch.int64 and second["weeks"].tolist() == [8, 60]
    assert second["fvc"].dtype == torch.float32 and second["fvc"].tolist() == [2900.0, 2500.0]
    pickle.dumps(first)


def test_covariates_describe_the_baseline_and_the_week(write: Write) -> None:
    first, second = OSICCohort().read(write())
    assert first["covariates"].dtype == torch.float32 and len(OSICCohort.covariates) == 8
    torch.testing.assert_close(first["covariates"], torch.tensor([[1.0, 0, 0, 0, 0, 1, 1, 0]]))
    constant = [-4 / 52, 400 / 800, 8 / 20, -1.0, 0, 0, 0]
    expected = [[12 / 52, *constant], [64 / 52, *constant]]
    torch.testing.assert_close(second["covariates"], torch.tensor(expected))


def test_labels_are_changes_since_the_baseline_and_the_slope_of_all_visits(write: Write) -> None:
    _, second = OSICCohort().read(write())
    slope, _ = np.polyfit([-4 / 52, 8 / 52, 60 / 52], [3100, 2900, 2500], 1)
    expected = [[-200 / 300, slope / 200], [-600 / 300, slope / 200]]
    torch.testing.assert_close(second["label"], torch.tensor(expected, dtype=torch.float32))


def test_a_single_visit_has_no_slope(write: Write) -> None:
    (item,) = OSICCohort(weeks=[0, 10]).read(write(LINES[:1], scans=("ID2",)))
    assert item["label"].shape == (2, 2) and item["label"][:, 1].isnan().all()


def test_a_prediction_needs_only_its_own_patient(write: Write) -> None:
    folder = write()
    everyone, alone = OSICCohort().read(folder)[0], OSICCohort(exclude=["ID2"]).read(folder)[0]
    torch.testing.assert_close(everyone["covariates"], alone["covariates"], rtol=0, atol=0)


@given(weeks=st.lists(st.integers(-12, 133), min_size=2, max_size=9, unique=True), fvc=st.integers(500, 6000))
def test_an_fvc_that_does_not_change_has_the_slope_zero(weeks: list[int], fvc: int) -> None:
    level = pd.DataFrame({"Weeks": sorted(weeks), "FVC": float(fvc)})
    assert abs(_rate(level)) < 1e-6 * fvc


def test_smoking_is_coded_in_two_columns(write: Write) -> None:
    lines = [f"ID1,{week},2700,78,67,Male,Currently smokes" for week in (0, 1)]
    (item,) = OSICCohort().read(write(lines, scans=("ID1",)))
    assert item["covariates"][0, 6:].tolist() == [0, 1]


def test_any_weeks_can_be_predicted(write: Write) -> None:
    write([LINES[1], LINES[3]], split="test")
    folder = write()
    for item in OSICCohort(split="test", weeks=range(-12, 134)).read(folder):
        assert item["weeks"].tolist() == list(range(-12, 134))
        assert item["covariates"].shape == (146, 8)
        assert item["fvc"].isnan().all()  # the baseline is no target
    measured = OSICCohort(weeks=[60, 9, -4]).read(folder)[1]["fvc"]
    assert measured[0] == 2500 and measured[1:].isnan().all()


def test_duplicate_visits_are_averaged_and_named(write: Write, caplog: pytest.LogCaptureFixture) -> None:
    folder = write([*LINES, "ID1,52,2500,73,67,Male,Ex-smoker", "ID2,-4,3000,84,60,Female,Never smoked"])
    first, second = OSICCohort().read(folder)
    assert first["fvc"].tolist() == [2550.0] and second["baseline_fvc"] == 3050.0
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "2 visits" in record.message and "ID1 week 52" in record.message and "ID2 week -4" in record.message


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("ID1,8,abc,75,67,Male,Ex-smoker", "line 7, patient ID1: FVC is 'abc', expected a positive number"),
        ("ID1,8,,75,67,Male,Ex-smoker", "line 7, patient ID1: FVC is ''"),
        ("ID1,8,nan,75,67,Male,Ex-smoker", "FVC is 'nan'"),
        ("ID1,8,inf,75,67,Male,Ex-smoker", "FVC is 'inf'"),
        ("ID1,8,-2700,75,67,Male,Ex-smoker", "FVC is '-2700'"),
        ("ID1,8,2700,0,67,Male,Ex-smoker", "Percent is '0'"),
        ("ID1,8.5,2700,75,67,Male,Ex-smoker", "Weeks is '8.5', expected a whole number"),
        ("ID1,soon,2700,75,67,Male,Ex-smoker", "Weeks is 'soon'"),
        ("ID1,8,2700,75,old,Male,Ex-smoker", "Age is 'old'"),
        ("ID1,8,2700,75,67,man,Ex-smoker", "Sex is 'man', expected one of Female, Male"),
        ("ID1,8,2700,75,67,Male,Pipe", "SmokingStatus is 'Pipe', expected one of Never smoked"),
        ("ID1,8,2700,75,68,Male,Ex-smoker", "Age is '68', not what the patient's first line says"),
        ("ID1,8,2700,75,67,Female,Ex-smoker", "Sex is 'Female', not what"),
        ("ID1,8,2700,75,67,Male,Never smoked", "SmokingStatus is 'Never smoked', not what"),
        ("ID1,1e30,2700,75,67,Male,Ex-smoker", "Weeks is '1e30', expected a whole number up to 5200"),
        ("ID1,8,1e300,75,67,Male,Ex-smoker", "FVC is '1e300', expected a positive number up to 20000"),
        ("ID1,8,2700,1e9,67,Male,Ex-smoker", "Percent is '1e9', expected a positive number up to 1000"),
        ("ID1,8,2700,75,670,Male,Ex-smoker", "Age is '670', expected a positive number up to 150"),
        ("a/ID1,8,2700,75,67,Male,Ex-smoker", "Patient is 'a/ID1', expected a name without slashes"),
        ("..,8,2700,75,67,Male,Ex-smoker", r"Patient is '\.\.', expected a name without slashes"),
        (r"a\ID1,8,2700,75,67,Male,Ex-smoker", "expected a name without slashes"),
        (",8,2700,75,67,Male,Ex-smoker", r"line 7, patient \(none\): Patient is ''"),
        ("ID1,8,2700,75,67,Male", "line 7, patient ID1: the number of fields differs"),
        ("ID1,8,2,700,75,67,Male,Ex-smoker", "line 7, patient ID1: the number of fields differs"),
    ],
)
def test_broken_lines_are_named(write: Write, line: str, message: str) -> None:
    folder = write([*LINES, line])
    with pytest.raises(ValueError, match=message) as error:
        OSICCohort().read(folder)
    assert str(folder / "train.csv") in str(error.value)


def test_all_broken_lines_are_named_at_once_and_excluding_is_a_way_out(write: Write) -> None:
    folder = write([*LINES, *(f"ID2,{week},x,80,60,Female,Never smoked" for week in range(100, 130))])
    with pytest.raises(ValueError, match=r"30 broken entries.*exclude=\[(.|\n)*line 7(.|\n)*line 16(.|\n)*20 more"):
        OSICCohort().read(folder)
    assert [item["patient"] for item in OSICCohort(exclude=["ID2"]).read(folder)] == ["ID1"]


def test_equal_ages_may_be_written_differently(write: Write) -> None:
    assert len(OSICCohort().read(write([*LINES, "ID1,8,2700,75,67.0,Male,Ex-smoker"]))) == 2


@pytest.mark.parametrize("column", HEADER.split(","))
def test_missing_column(write: Write, column: str) -> None:
    folder = write(header=HEADER.replace(column, "x"))
    with pytest.raises(ValueError, match=f"no column {column}; the header must name"):
        OSICCohort().read(folder)


def test_surplus_columns_blank_lines_and_byte_order_mark_do_no_harm(write: Write) -> None:
    folder = write(["", *(line + ",x" for line in LINES), ""], header="\ufeff" + HEADER + ",Comment")
    assert len(OSICCohort().read(folder)) == 2


@pytest.mark.parametrize("weeks", [[1.5], [1, 2.0], ["3"], [None], [10**30], [float("nan")]])
def test_weeks_to_predict_are_whole_numbers(weeks: list[int]) -> None:
    with pytest.raises(ValueError, match=r"weeks has "):
        OSICCohort(weeks=weeks)


def test_empty_table(write: Write) -> None:
    folder = write([])
    with pytest.raises(ValueError, match="no visits in the table"):
        OSICCohort().read(folder)


def test_missing_table_or_scans(tmp_path: Path, write: Write) -> None:
    with pytest.raises(FileNotFoundError, match=r"train\.csv does not exist"):
        OSICCohort().read(tmp_path)
    write(LINES, split="test")
    (tmp_path / "train.csv").write_text("\n".join([HEADER, *LINES]))
    with pytest.raises(FileNotFoundError, match="one folder of DICOM files per patient"):
        OSICCohort().read(tmp_path)


def test_scans_and_table_must_match(write: Write) -> None:
    folder = write(scans=("ID1", "ID3"))
    with pytest.raises(ValueError, match=r"exclude=\[(.|\n)*patient ID2 of .* no folder(.|\n)*ID3 has no line in"):
        OSICCohort().read(folder)
    assert len(OSICCohort(exclude=["ID2", "ID3"]).read(folder)) == 1


def test_empty_scan_folder(write: Write) -> None:
    folder = write()
    (folder / "train" / "ID2" / "1.dcm").unlink()
    with pytest.raises(ValueError, match=r"patient ID2: .*ID2 is empty"):
        OSICCohort().read(folder)


def test_patient_without_a_visit_to_predict(write: Write) -> None:
    folder = write(LINES[:4])
    with pytest.raises(ValueError, match=r"1 patients .* none to predict: ID1\. .*weeks=\[.*exclude=\["):
        OSICCohort().read(folder)
    assert len(OSICCohort(exclude=["ID1"]).read(folder)) == 1
    assert len(OSICCohort(weeks=[10]).read(folder)) == 2
    with pytest.raises(ValueError, match="weeks is empty"):
        OSICCohort(weeks=[]).read(folder)


def test_exclusions_are_counted_and_named(write: Write, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        OSICCohort(exclude=["ID2"]).read(write())
    assert "1 patients left out as asked: ID2" in caplog.text


def test_exclusions_must_exist(write: Write) -> None:
    folder = write()
    with pytest.raises(ValueError, match="unknown patients: ID8, ID9"):
        OSICCohort(exclude=["ID9", "ID8", "ID1"]).read(folder)
    with pytest.raises(ValueError, match="must be a list"):
        OSICCohort(exclude="ID1").read(folder)
    with pytest.raises(ValueError, match="none left after the exclusions"):
        OSICCohort(exclude=["ID1", "ID2"]).read(folder)


def test_predictions_table(write: Write) -> None:
    cohort = OSICCohort(weeks=[8, 9]).read(write())
    q = [torch.tensor([[2400.0, 2500.0, 2650.0], [2400.0, 2410.0, 2420.0]])] * 2
    table = OSICCohort().table(cohort, q)
    assert list(table) == ["Patient_Week", "FVC", "Confidence", "q20", "q50", "q80", "FVC_measured"]
    assert table["Patient_Week"].tolist() == ["ID1_8", "ID1_9", "ID2_8", "ID2_9"]
    assert table["Confidence"].tolist() == [250, 70, 250, 70]
    pd.testing.assert_series_equal(table["FVC"], table["q50"], check_names=False)
    assert table["FVC_measured"].tolist()[2] == 2900 and table["FVC_measured"].isna().sum() == 3


def test_predictions_must_fit_the_cohort(write: Write) -> None:
    cohort = OSICCohort().read(write())
    with pytest.raises(ValueError, match="1 patients, but a cohort of 2"):
        OSICCohort().table(cohort, [torch.zeros(1, 3)])
    with pytest.raises(ValueError, match=r"patient ID2: predictions must be \[2 weeks, 3 quantiles\], got \[3, 3\]"):
        OSICCohort().table(cohort, [torch.zeros(1, 3), torch.zeros(3, 3)])


def test_changes_become_millilitres_of_each_patient() -> None:
    pred = torch.tensor([[0.5, -1.0, 1.0, 9.0], [0.0, 0.0, 0.0, 9.0], [-0.1, 0.0, 0.1, 9.0]], dtype=torch.float64)
    label = torch.tensor([[-2.0, 1.0], [torch.nan, 1.0], [1.0, 3.0]])
    weeks = [torch.tensor([3, 5]), torch.tensor([8])]
    result = OSICCohort().in_units({"pred": pred, "label": label, "weeks": weeks, "baseline_fvc": [2000.0, 3000.0]})
    expected = [[1700.0, 2150.0, 2300.0], [2000.0, 2000.0, 2000.0], [2970.0, 3000.0, 3030.0]]  # in order, without the rate
    torch.testing.assert_close(result["pred"], torch.tensor(expected, dtype=torch.float64))
    torch.testing.assert_close(result["label"].double(), torch.tensor([1400.0, torch.nan, 3300.0]).double(), equal_nan=True)


def test_groups_are_those_of_the_table_of_visits(write: Write) -> None:
    lines = [f"ID2,{week},2900,70,66,Male,Currently smokes" for week in (0, 26, 27, 53)]
    items = OSICCohort().read(write([*lines, *LINES[3:]]))
    groups = OSICCohort().groups(items)
    assert groups["weeks since baseline"].tolist() == ["27 to 52", "up to 26", "27 to 52", "above 52"]
    assert groups["baseline, % of normal FVC"].tolist() == ["above 70", *["up to 70"] * 3]
    assert groups["age"].tolist() == ["above 65"] * 4 and groups["sex"].tolist() == ["male"] * 4
    assert groups["smoking"].tolist() == ["ex-smoker", *["currently smokes"] * 3]


def test_coverage_is_the_share_inside_the_interval() -> None:
    table = pd.DataFrame({"FVC_measured": [2000.0, 2100.0, 1880.0, np.nan], "q20": 1900.0, "q50": 2000.0, "q80": 2050.0})
    assert OSICCohort().scores(table)["coverage"] == pytest.approx(1 / 3)
