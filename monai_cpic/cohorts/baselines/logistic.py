"""Logistic regression whose penalty is chosen by cross-validation over patients."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

__all__ = ["patient_wise_logistic"]

INVERSE_PENALTIES = np.logspace(-4, 2, 13)
"""To choose from, for standardised features."""

_FOLDS = 5

Array = NDArray[np.float64]


def patient_wise_logistic(features: Array, labels: NDArray[np.int64], patients: NDArray[np.int64]) -> Pipeline:
    """Fit a logistic regression on standardised features, with the smallest cross-entropy for patients who were left out.

    Args:
        features: ``[N, P]``.
        labels: numbers of classes, ``[N]``, of which at least two occur.
        patients: the patient of each row, ``[N]``; all rows of a patient are in the same part of the cross-validation.

    Returns:
        The fitted pipeline.  With a single patient of a class there is nothing to choose by, and the largest penalty is used.

    Example:
        >>> age, sick = np.array([[40.0], [50.0], [60.0], [70.0]]), np.array([0, 0, 1, 1])
        >>> patient_wise_logistic(age, sick, np.arange(4)).predict([[45.0], [65.0]]).tolist()
        [0, 1]
    """
    model = make_pipeline(StandardScaler(), LogisticRegression(C=INVERSE_PENALTIES[0], max_iter=1000))
    smallest = min(len(np.unique(patients[labels == number])) for number in np.unique(labels))
    if smallest > 1:
        parts = StratifiedGroupKFold(min(_FOLDS, smallest))
        grid = {"logisticregression__C": INVERSE_PENALTIES}
        search = GridSearchCV(model, grid, scoring=_negative_cross_entropy, cv=parts, refit=False)
        model.set_params(**search.fit(features, labels, groups=patients).best_params_)
    return model.fit(features, labels)


def _negative_cross_entropy(model: Any, features: Array, labels: NDArray[np.int64]) -> float:
    return -float(log_loss(labels, model.predict_proba(features), labels=model.classes_))
