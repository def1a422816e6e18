"""Baselines of survival: predictions of days from age, extent of resection and the tumour's volume."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from monai_cpic.cohorts.baselines.base import Baseline
from monai_cpic.cohorts.baselines.cox import CoxRegression
from monai_cpic.cohorts.baselines.ridge import patient_wise_ridge
from monai_cpic.cohorts.baselines.tumour import tumour_volume

__all__ = ["CoxSurvival", "MeanSurvival", "RidgeSurvival", "age", "age_and_resection", "age_resection_and_tumour"]

Array = NDArray[np.float64]
Items = Sequence[Mapping[str, Any]]
Describe = Callable[[Mapping[str, Any]], Sequence[float]]


def age(item: Mapping[str, Any]) -> list[float]:
    """The scaled age of a patient."""
    return [item["covariates"][0, 0].item()]


def age_and_resection(item: Mapping[str, Any]) -> list[float]:
    """The scaled age of a patient, and whether the resection was total or partial."""
    return [float(value) for value in item["covariates"][0]]


def age_resection_and_tumour(item: Mapping[str, Any]) -> list[float]:
    """The same and the diameter (cm) of a sphere of the tumour's volume, which is less skewed than the volume."""
    return [*age_and_resection(item), (6 / np.pi * tumour_volume(item["segmentation"])) ** (1 / 3)]


class MeanSurvival(Baseline):
    """The mean survival of the training patients who died."""

    name = "mean"

    def fit(self, training: Items) -> None:
        self.days = float(np.mean([item["survival_days"] for item in _dead(training)]))

    def predict(self, patients: Items) -> list[Tensor]:
        return _outputs(np.full(len(patients), self.days))


class RidgeSurvival(Baseline):
    """Ridge regression of the survival of the training patients who died; its penalty minimises the squared error for patients
    who were left out.

    Args:
        name: name of the model.
        describe: the features of a patient.
    """

    def __init__(self, name: str, describe: Describe) -> None:
        self.name = name
        self.describe = describe

    def fit(self, training: Items) -> None:
        dead = _dead(training)
        features = np.array([self.describe(item) for item in dead])
        days = np.array([item["survival_days"] for item in dead])
        self.ridge = patient_wise_ridge(features, days, np.arange(len(dead)), "neg_mean_squared_error")

    def predict(self, patients: Items) -> list[Tensor]:
        return _outputs(self.ridge.predict(np.array([self.describe(item) for item in patients])))


class CoxSurvival(Baseline):
    """The survival that a Cox regression expects (:class:`~monai_cpic.cohorts.baselines.cox.CoxRegression`).

    It learns from the living, too.  Its penalty minimises the squared error for patients who died and were left out.

    Args:
        name: name of the model.
        describe: the features of a patient.
    """

    PENALTIES = (0.1, 1.0, 10.0, 100.0)

    def __init__(self, name: str, describe: Describe) -> None:
        self.name = name
        self.describe = describe

    def fit(self, training: Items) -> None:
        dead = _dead(training)
        patients = dead + [item for item in training if not item["died"] and np.isfinite(item["survival_days"])]
        features = np.array([self.describe(item) for item in patients])
        survival = np.array([[item["survival_days"], item["died"]] for item in patients], dtype=float)
        self.cox = make_pipeline(StandardScaler(), CoxRegression(self.PENALTIES[-1]))
        if len(dead) > 1:
            living = np.arange(len(dead), len(patients))  # they are never left out, as their survival is not known
            parts = [(np.r_[known, living], left_out) for known, left_out in KFold(min(5, len(dead))).split(dead)]
            search = GridSearchCV(
                self.cox, {"coxregression__alpha": self.PENALTIES}, scoring=_negative_squared_error, cv=parts, refit=False
            )
            self.cox.set_params(**search.fit(features, survival).best_params_)
        self.cox.fit(features, survival)

    def predict(self, patients: Items) -> list[Tensor]:
        return _outputs(self.cox.predict(np.array([self.describe(item) for item in patients])))


def _dead(training: Items) -> list[Mapping[str, Any]]:
    """The patients who died."""
    dead = [item for item in training if item["died"]]
    if not dead:
        raise ValueError(f"none of {len(training)} training patients died: there is no survival to learn from.")
    return dead


def _negative_squared_error(cox: Any, features: Array, survival: Array) -> float:
    return -float(np.square(cox.predict(features) - survival[:, 0]).sum())


def _outputs(days: Array) -> list[Tensor]:
    """Days ``[N]``, at least 0, as the output ``[1, 1]`` of each patient."""
    return list(torch.tensor(days, dtype=torch.float64).clamp(min=0).reshape(-1, 1, 1))
