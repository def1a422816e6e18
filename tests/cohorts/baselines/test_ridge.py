"""Ridge regression against the normal equations, and its penalty against a cross-validation by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from monai_cpic.cohorts.baselines.ridge import PENALTIES, patient_wise_ridge, predictions_for_left_out

Array = NDArray[np.float64]


def closed_form(known: Array, target: Array, new: Array, penalty: float) -> Array:
    """Ridge regression on standardised features."""
    centre, scale = known.mean(0), known.std(0)
    x = (known - centre) / scale
    coefficients = np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ (target - target.mean()))
    return target.mean() + (new - centre) / scale @ coefficients


def test_the_penalty_is_the_best_for_patients_who_were_left_out() -> None:
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(5), 4)  # five patients, five folds: each is left out once
    features = rng.normal(size=(20, 3)) * [1.0, 30.0, 0.1]
    target = features @ [10.0, 1.0, 200.0] + np.repeat(rng.normal(size=5), 4) * 40 + rng.normal(size=20)

    def left_out(penalty: float) -> Array:
        predictions = np.empty(20)
        for patient in range(5):
            new = patients == patient
            predictions[new] = closed_form(features[~new], target[~new], features[new], penalty)
        return predictions

    best = min(PENALTIES, key=lambda penalty: float(np.abs(left_out(penalty) - target).mean()))
    assert PENALTIES[0] < best < PENALTIES[-1]
    ridge = patient_wise_ridge(features, target, patients, "neg_mean_absolute_error")
    new = rng.normal(size=(7, 3))
    np.testing.assert_allclose(ridge.predict(new), closed_form(features, target, new, best))
    np.testing.assert_allclose(predictions_for_left_out(ridge, features, target, patients), left_out(best))
    np.testing.assert_allclose(ridge.predict(new), closed_form(features, target, new, best), err_msg="it keeps its fit")


@pytest.mark.parametrize("patients", [1, 2, 3])
def test_few_patients(patients: int) -> None:
    numbers = np.arange(6) % patients
    features, target = np.arange(6.0)[:, None], np.arange(6.0) ** 2
    ridge = patient_wise_ridge(features, target, numbers, "neg_mean_squared_error")
    assert np.isfinite(predictions_for_left_out(ridge, features, target, numbers)).all()
    if patients == 1:
        np.testing.assert_allclose(ridge.predict(features), closed_form(features, target, features, PENALTIES[-1]))
