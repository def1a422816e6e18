"""Predictions of all patients by the networks of the folds."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from monai_cpic.cohorts import PatientPredictions, read_held_out, write_held_out


def of_patients(*names: str, shift: float = 0.0) -> PatientPredictions:
    """Predictions, each of which tells its patient."""
    predictions = PatientPredictions()
    predictions.items = [{"patient": name, "image": "opened"} for name in names]
    predictions.outputs = [torch.full((2, 3), float(ord(name)) + shift) for name in names]
    return predictions


def test_the_folds_together_in_the_order_of_the_patients(tmp_path: Path) -> None:
    folders = [tmp_path / "fold0", tmp_path / "fold1"]
    for folder, names in zip(folders, ("CA", "DB"), strict=True):
        write_held_out(folder, network=of_patients(*names), covariates_only=of_patients(*names, shift=0.5))
    patients = [{"patient": name, "image": "path"} for name in "ABCD"]
    found = read_held_out(folders, patients, lambda item: {**item, "image": "opened"})
    assert list(found) == ["network", "covariates_only"]
    for name, expected in (("network", of_patients(*"ABCD")), ("covariates_only", of_patients(*"ABCD", shift=0.5))):
        assert found[name].items == expected.items
        torch.testing.assert_close(found[name].outputs, expected.outputs)


def test_a_patient_with_several_items(tmp_path: Path) -> None:
    first, second = of_patients("A", "B", "A"), of_patients("C")
    first.outputs[2] = first.outputs[2] + 1
    for number, given in enumerate((first, second)):
        write_held_out(tmp_path / f"fold{number}", network=given)
    patients = [{"patient": name} for name in "ABAC"]
    found = read_held_out([tmp_path / "fold0", tmp_path / "fold1"], patients, lambda item: item)["network"]
    torch.testing.assert_close(found.outputs, [*first.outputs, *second.outputs])


def test_other_patients(tmp_path: Path) -> None:
    write_held_out(tmp_path / "fold0", network=of_patients("A", "B"))
    with pytest.raises(ValueError, match=r"holds folds of other patients \(A, C\): train without resume"):
        read_held_out([tmp_path / "fold0"], [{"patient": "B"}, {"patient": "C"}], lambda item: item)
