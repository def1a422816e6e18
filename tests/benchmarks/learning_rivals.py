"""Predictions without a network: ridge regression on simple features and on principal components of the reduced scan."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
from learning_cohorts import Cohort
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from torch import Tensor

__all__ = ["RIVALS", "rival_predictions"]

PENALTIES = np.logspace(-4, 5, 28)
COMPONENTS = (5, 10, 20, 40, 80, 160)
INNER_FOLDS = 5


def rival_predictions(name: str, cohort: Cohort, known: Tensor) -> Tensor:
    """Predictions of all scans ``[N, K]`` by a rival that has seen the targets of some.

    The number of components and the penalty are chosen for each target by cross-validation among the known scans.

    Args:
        name: of the rival.
        cohort: the cohort.
        known: indices of the scans of the training.
    """
    features, simple, rows = _features(cohort), cohort.simple.shape[1], known.numpy()
    predicted = []
    for target in cohort.targets.double().mT.numpy():
        told = rows[~np.isnan(target[rows])]
        model = RIVALS[name](simple, len(told)).fit(features[told], target[told])
        predicted.append(torch.from_numpy(model.predict(features)).float())
    return torch.stack(predicted, 1)


@lru_cache(maxsize=1)
def _features(cohort: Cohort) -> NDArray[np.float64]:
    """The simple features of each scan, then its coordinates in the space that the reduced scans of the cohort span.

    These are ``N`` numbers instead of one for each voxel.  Distances are in proportion to those between the scans themselves, and
    so are the principal components of any part of the cohort; the first one of the cohort has unit variance.
    """
    scans = cohort.reduced.flatten(1).double()
    scans = scans - scans.mean(0)
    squares, axes = torch.linalg.eigh(scans @ scans.mT)
    deviations = (squares.clamp(min=0) / len(scans)).sqrt()
    return torch.cat([cohort.simple.double(), axes * len(scans) ** 0.5 * deviations / deviations[-1]], 1).numpy()


def _simple(simple: int, scans: int) -> Pipeline:
    choose = FunctionTransformer(lambda features: features[:, :simple])
    return make_pipeline(choose, StandardScaler(), RidgeCV(PENALTIES))


# Components keep their proportions, so that the penalty shrinks the small ones more: better than unit variance for each.


def _components(simple: int, scans: int) -> GridSearchCV:
    choose = FunctionTransformer(lambda features: features[:, simple:])
    return _searched(make_pipeline(choose, PCA(svd_solver="full"), RidgeCV(PENALTIES)), "pca", scans)


def _both(simple: int, scans: int) -> GridSearchCV:
    parts = [("simple", StandardScaler(), slice(0, simple)), ("pca", PCA(svd_solver="full"), slice(simple, None))]
    return _searched(make_pipeline(ColumnTransformer(parts), RidgeCV(PENALTIES)), "columntransformer__pca", scans)


def _searched(pipeline: Pipeline, step: str, scans: int) -> GridSearchCV:
    """With the best number of components."""
    inner = KFold(INNER_FOLDS, shuffle=True, random_state=0)
    most = scans - -(-scans // INNER_FOLDS) - 1
    counts = sorted({min(count, most) for count in COMPONENTS})
    return GridSearchCV(pipeline, {f"{step}__n_components": counts}, cv=inner, scoring="neg_mean_squared_error")


RIVALS: dict[str, Callable[[int, int], Pipeline | GridSearchCV]] = {
    "ridge: simple features": _simple,
    "ridge: principal components": _components,
    "ridge: components and simple features": _both,
}
