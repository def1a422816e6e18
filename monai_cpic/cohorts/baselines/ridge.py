"""Ridge regression whose penalty is chosen by cross-validation over patients."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

__all__ = ["PENALTIES", "patient_wise_ridge", "predictions_for_left_out"]

PENALTIES = np.logspace(-2, 4, 19)
"""The penalties to choose from, for standardised features."""

_FOLDS = 5

Array = NDArray[np.float64]


def patient_wise_ridge(features: Array, target: Array, patients: NDArray[np.int64], scoring: str) -> Pipeline:
    """Fit a ridge regression on standardised features, with the best penalty for patients who were left out.

    Args:
        features: ``[N, P]``.
        target: ``[N]``.
        patients: the patient of each row, ``[N]``; all rows of a patient are in the same part of the cross-validation.
        scoring: what the penalty is chosen by, a name of scikit-learn's, such as ``"neg_mean_absolute_error"``.

    Returns:
        The fitted pipeline.  With a single patient there is nothing to choose by, and the largest penalty is used.

    Example:
        >>> age, days = np.array([[40.0], [50.0], [60.0], [70.0]]), np.array([900.0, 700.0, 500.0, 300.0])
        >>> ridge = patient_wise_ridge(age, days, np.arange(4), "neg_mean_squared_error")
        >>> round(ridge.predict([[55.0]]).item())
        600
    """
    ridge = make_pipeline(StandardScaler(), Ridge())
    count = len(np.unique(patients))
    if count < 2:
        return ridge.set_params(ridge__alpha=PENALTIES[-1]).fit(features, target)
    search = GridSearchCV(ridge, {"ridge__alpha": PENALTIES}, scoring=scoring, cv=GroupKFold(min(_FOLDS, count)))
    return search.fit(features, target, groups=patients).best_estimator_


def predictions_for_left_out(model: Pipeline, features: Array, target: Array, patients: NDArray[np.int64]) -> Array:
    """What a model predicts for each row ``[N]`` when it is fitted without the row's patient and some others.

    Args:
        model: the model, which keeps its fit.
        features: ``[N, P]``.
        target: ``[N]``.
        patients: the patient of each row, ``[N]``.  With a single patient, nobody can be left out.
    """
    count = len(np.unique(patients))
    if count < 2:
        return np.asarray(model.predict(features))
    return np.asarray(cross_val_predict(model, features, target, groups=patients, cv=GroupKFold(min(_FOLDS, count))))
