"""Folds by patient."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monai_cpic.cohorts import folds, set_aside


@given(patients=st.integers(2, 40), n_folds=st.integers(2, 8), seed=st.integers(0, 5))
def test_folds_are_disjoint_and_cover_the_cohort(patients: int, n_folds: int, seed: int) -> None:
    n_folds = min(n_folds, patients)
    cohort = [{"patient": f"ID{number}"} for number in range(patients)]
    validated = []
    for fold in range(n_folds):
        training, validation = folds(cohort, n_folds, fold, seed)
        names = [item["patient"] for item in training + validation]
        assert sorted(names) == sorted(item["patient"] for item in cohort)
        assert abs(len(validation) - patients / n_folds) < 1
        assert (training, validation) == folds(cohort, n_folds, fold, seed)
        validated += [item["patient"] for item in validation]
    assert sorted(validated) == sorted(item["patient"] for item in cohort)


@settings(deadline=None)  # a busy machine
@given(patients=st.integers(3, 12), visits=st.integers(1, 3), seed=st.integers(0, 5))
def test_fewer_patients_to_train_on_leave_the_validation_part_as_it_is(patients: int, visits: int, seed: int) -> None:
    cohort = [{"patient": f"ID{number}", "visit": visit} for number in range(patients) for visit in range(visits)]
    if visits > 1:
        cohort = [item | {"stratum": 0} for item in cohort]
    training, validation = folds(cohort, 3, 1, seed)
    names = {item["patient"] for item in training}
    known: set[object] = set()
    for number in range(1, len(names) + 1):
        drawn, same = folds(cohort, 3, 1, seed, trained_on=number)
        own = {item["patient"] for item in drawn}
        assert same == validation and len(own) == number and known < own <= names
        assert drawn == [item for item in training if item["patient"] in own], "with all their items"
        known = own
    for number in (0, len(names) + 1):
        with pytest.raises(ValueError, match=f"between 1 and the {len(names)} training patients, got {number}"):
            folds(cohort, 3, 1, seed, trained_on=number)


def test_impossible_folds() -> None:
    cohort = [{"patient": name} for name in "abc"]
    for n_folds in (1, 4):
        with pytest.raises(ValueError, match="n_folds must be between 2 and the 3 patients"):
            folds(cohort, n_folds)
    with pytest.raises(ValueError, match="fold must be between 0 and 2"):
        folds(cohort, 3, fold=3)
    with pytest.raises(ValueError, match="more than once"):
        folds([*cohort, cohort[0]], 2)


def test_strata_are_shared_and_a_patients_items_stay_together() -> None:
    cohort = [{"patient": f"ID{number // 2}", "stratum": int(number // 2 % 4 == 0), "scan": number} for number in range(80)]
    for fold in range(5):
        training, validation = folds(cohort, 5, fold)
        assert {item["patient"] for item in training}.isdisjoint(item["patient"] for item in validation)
        assert sum(item["stratum"] for item in validation) == 4 and len(validation) == 16


def test_strata_of_few_items() -> None:
    for strata in ([0] * 8 + [1], [0, 1, 2, 3, 4], [0] * 6 + [1, 1, 2, 2, 3]):
        cohort = [{"patient": f"ID{number}", "stratum": stratum} for number, stratum in enumerate(strata)]
        assert sum(len(folds(cohort, 5, fold)[1]) for fold in range(5)) == len(cohort)


@given(patients=st.integers(4, 40), share=st.sampled_from([0.1, 0.2, 0.25, 1 / 3, 0.5]))
def test_patients_who_choose_the_epoch_are_set_aside(patients: int, share: float) -> None:
    training = [{"patient": f"ID{number}", "stratum": number % 2, "scan": scan} for number in range(patients) for scan in (0, 1)]
    assert set_aside(training, 0) == (training, [])
    if patients * share < 1:
        with pytest.raises(ValueError, match=f"of {patients} training patients is nobody"):
            set_aside(training, share)
        return
    left, aside = set_aside(training, share)
    names = {item["patient"] for item in aside}
    assert names.isdisjoint(item["patient"] for item in left) and len(left) + len(aside) == len(training)
    assert aside and abs(len(names) - share * patients) <= 2
    for share in (-0.1, 0.6):
        with pytest.raises(ValueError, match=r"lies between 0 and 0\.5"):
            set_aside(training, share)
